package build

import (
	"encoding/json"
	"fmt"

	"stoa/api/contracts"
	"stoa/api/core"
	"stoa/api/workload"
)

// Recipe gives all that a document says about how it is built, as one text: a document
// whose recipe stays, and of whose Inputs nothing changed, is built to what it was
// built to before. Environment, arguments, probes and the like are no part of it.
func Recipe(d core.Document) string {
	r := struct {
		Kind, Dir, Go, Sub, Static, EnvFile string
		Command                             bool // what is copied does not depend on what is run in it
		Build, Ignore                       []string
		Contract                            contracts.Contract
	}{Kind: d.Kind, Dir: DirOf(d)}
	switch d.Kind {
	case core.KindService:
		run := workload.RunSection.Of(d)
		r.Go, r.Sub, r.Static, r.Build, r.Command = run.Go, run.Dir, run.Static, run.Build, len(run.Command) > 0
		r.EnvFile, r.Contract = workload.EnvFileSection.Of(d), contracts.ContractSection.Of(d)
		if run.Go == "" {
			r.Ignore = workload.IgnoreSection.Of(d)
		}
	case core.KindJob:
		job := workload.JobBody.Of(d)
		r.Go, r.Command = job.Go, len(job.Command) > 0
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("build: recipe of %s: %v", d.Ref(), err)) // texts only: cannot fail
	}
	return string(b)
}
