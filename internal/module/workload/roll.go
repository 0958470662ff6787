package workload

// A view is what the roll knows of one slot.
type view struct {
	current  bool // of the release that is wanted
	ready    bool
	retiring bool
}

// A step is what is to be done next: start so many slots, retire these (indexes of the views).
type step struct {
	start  int
	retire []int
}

// roll decides how a deployment gets from its slots to count ready ones of the wanted
// release. It is pure, and asked again after every change.
//
// Old slots serve until as many new ones are ready: never fewer than count are ready
// because of a roll, and at most max(1, count/4) more than count exist. With alone
// (a port that two cannot share) every old slot goes before the first new one comes.
func roll(count int, alone bool, slots []view) step {
	surge := max(1, count/4)
	if alone {
		surge = 0
	}
	var fresh, freshReady, oldReady, exist int
	var old []int // not retiring, those that are not ready first
	for _, ready := range []bool{false, true} {
		for i, s := range slots {
			if s.retiring || s.current || s.ready != ready {
				continue
			}
			old = append(old, i)
		}
	}
	for _, s := range slots {
		if alone || !s.retiring {
			exist++
		}
		if s.retiring {
			continue
		}
		switch {
		case s.current && s.ready:
			fresh, freshReady = fresh+1, freshReady+1
		case s.current:
			fresh++
		case s.ready:
			oldReady++
		}
	}
	var out step
	// Too many of the wanted release: those that are not ready go first, then the youngest.
	for _, ready := range []bool{false, true} {
		for i := len(slots) - 1; i >= 0 && fresh > count; i-- {
			if s := slots[i]; s.current && !s.retiring && s.ready == ready {
				out.retire = append(out.retire, i)
				fresh--
			}
		}
	}
	for _, i := range old {
		switch {
		case alone, count == 0:
			out.retire = append(out.retire, i)
		case slots[i].ready && freshReady+oldReady > count:
			out.retire = append(out.retire, i)
			oldReady--
		case !slots[i].ready && (freshReady > 0 || oldReady >= 1 && exist >= count+surge):
			// One that does not serve is in the way of one that may.
			out.retire = append(out.retire, i)
		case !slots[i].ready && oldReady == 0 && freshReady == 0:
			// Nothing serves: there is nothing to keep.
			out.retire = append(out.retire, i)
		}
	}
	if room := count + surge - exist; room > 0 {
		out.start = max(0, min(count-fresh, room))
	}
	return out
}
