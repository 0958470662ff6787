package route

// Hit is what a match found. A caller that keeps one and gives it to MatchRequest again
// saves the zeroing; it is then good until the next match. What it says of variables
// stands in the path that was given.
type Hit struct {
	Rule  *Rule // nil for a miss
	Index int   // of the rule in what Compile was given; -1 for a miss
	Vars  Vars

	// MethodMiss says of a miss that a rule matches but for its methods: 405, see Allowed.
	MethodMiss bool

	c *compiled // of Rule
}

// Vars are the variables of a template as they stood in the path, still escaped.
type Vars struct {
	n    int
	path string
	c    *compiled
	at   [MaxVars]span // only the first n mean something
}

// span is a part of the path. A path is shorter than 2 GiB.
type span struct{ from, to int32 }

// Len is how many there are.
func (v *Vars) Len() int { return v.n }

// At gives the name and value of the i-th from the left.
func (v *Vars) At(i int) (name, value string) {
	return v.c.names[:v.n][i], v.path[v.at[i].from:v.at[i].to]
}

// Value gives the variable of this name, or "".
func (v *Vars) Value(name string) string {
	for i := range v.n {
		if v.c.names[i] == name {
			return v.path[v.at[i].from:v.at[i].to]
		}
	}
	return ""
}
