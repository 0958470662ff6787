package store

// SmallEntries gives o with entries that have room for some 4 KB of documents.
func SmallEntries(o Options) Options {
	o.entry = headerRoom + 4<<10
	return o
}
