package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/balance"
	"stoa/internal/engine/certs"
	"stoa/internal/engine/policy"
	"stoa/internal/engine/route"
	"stoa/internal/ground/nearest"
	"stoa/internal/kernel/host"
)

func checkGateway(k *host.Checker, g gateway.Gateway) {
	address(k, "listen", g.Listen, gateway.DefaultListen)
	if g.RedirectHTTP != "" {
		address(k, "redirectHTTP", g.RedirectHTTP, ":80")
		switch {
		case g.TLS == nil:
			k.Bad("redirectHTTP", "leads to TLS, which the gateway does not speak", "give tls, or take it away")
		case g.RedirectHTTP == g.Listen:
			k.Bad("redirectHTTP", "is the address of the gateway itself", "give it another, as :80 beside :443")
		}
	}
	heads(g.Heads).Check(func(path, text, hint string) { k.Bad("heads."+path, text, policy.Phrase(hint)) })
	if g.TLS != nil {
		certificates(core.Document{}, g.TLS).Check(func(path, text, hint string) {
			if path == "acme.account" {
				path = "acme.accountID"
			}
			k.Bad(host.JoinPath("tls", path), text, policy.Phrase(hint))
		})
	}
}

// besideGateway holds the gateway's certificates against their files. Those with an absolute
// name may be on another machine, where the blueprint is applied: they are looked at if they are here.
func besideGateway(k *host.Checker, g gateway.Gateway) {
	if g.TLS == nil {
		return
	}
	whole := certificates(k.Doc, g.TLS)
	pair := func(at string, p certs.Pair, declared gateway.Pair) {
		if p.Cert == "" || p.Key == "" {
			return // told by check
		}
		_, err := p.Load()
		var bad *fault.Error
		if !errors.As(err, &bad) {
			return
		}
		field, name := "cert", declared.Cert
		if bad.Subject == p.Key {
			field, name = "key", declared.Key
		}
		if filepath.IsAbs(name) && bad.Kind != fault.Invalid {
			return
		}
		text := name + " cannot be used"
		if bad.Kind != fault.Invalid {
			text = name + " cannot be read"
		}
		k.Bad(host.JoinPath("tls", at+field), text+": "+strings.ReplaceAll(bad.Err.Error(), p.Key, declared.Key), policy.Phrase(bad.Hint))
	}
	pair("", certs.Pair{Cert: whole.Cert, Key: whole.Key}, gateway.Pair{Cert: g.TLS.Cert, Key: g.TLS.Key})
	for i, p := range whole.More {
		pair(fmt.Sprintf("more[%d].", i), p, g.TLS.More[i])
	}
	if a := g.TLS.ACME; a != nil {
		acme := whole.ACME
		files := map[string][2]string{"acme.ca": {acme.CA, a.CA}}
		if acme.Account != nil {
			files["acme.accountKey"] = [2]string{acme.Account.KeyFile, a.AccountKey}
		}
		for field, f := range files {
			if f[1] == "" || filepath.IsAbs(f[1]) {
				continue
			}
			if _, err := os.Stat(f[0]); err != nil {
				k.Bad("tls."+field, f[1]+" cannot be read: "+errors.Unwrap(err).Error(), "put the file there, or name another")
			}
		}
	}
}

func address(k *host.Checker, path, addr, example string) {
	_, port, err := net.SplitHostPort(addr)
	if _, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil {
		k.Bad(path, fmt.Sprintf("%q is no address", addr), "write host:port, as in "+example)
	}
}

func checkExpose(k *host.Checker, all []gateway.Expose) {
	mine := rules(k.State, k.Doc)
	conflicting := host.Once(k, "gateway.conflicting", func() bool { return conflicts(k.State) })
	defaults := host.Once(k, "gateway.defaults", func() mesh.Defaults { return mesh.DefaultsOf(k.State) })
	for i, e := range all {
		at := fmt.Sprintf("[%d]", i)
		if e.Path == "" {
			k.Bad(at+".path", "is missing", "write path: /"+k.Doc.Name)
			continue
		}
		good := checkRule(k, at, e, mine[i])
		if e.Exact && mine[i].Kind == route.Template {
			k.Bad(at+".exact", "means nothing with a template, which matches exactly anyway", "take it away")
		}
		for j, name := range e.Methods {
			if near := nearest.To(name, methods); near != "" && !slices.Contains(methods, name) {
				k.Bad(fmt.Sprintf("%s.methods[%d]", at, j), fmt.Sprintf("%q is no method that a client would use", name), "did you mean "+near+"?")
			}
		}
		checkListener(k, at, k.Doc.Name, e.Listener)
		if _, protocol, ok := upstreamOf(k.State, k.Doc.Name, e.Listener); ok && protocol == workload.TCP {
			k.Bad(at+".path", "the port speaks tcp: the gateway routes HTTP", "expose a port that speaks http or h2c")
		}
		checkOthers(k, at, e)
		checkPolicy(k, at, e, mine[i], defaults)
		if good && conflicting {
			checkConflicts(k, at, i, mine[i])
		}
	}
	if len(all) > 0 && len(workload.Listeners(k.Doc)) == 0 && workload.RunSection.Of(k.Doc).Static == "" {
		k.Bad("", "the service has no port (listen)", "give it one, or take expose away")
	}
}

// methods are those that are known: of HTTP (RFC 9110, RFC 5789), WebDAV and caches. A name that
// is none of them, nor like one, is somebody's own.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "SEARCH", "REPORT",
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "PURGE", "BAN", "LINK", "UNLINK"}

// checkRule tells all that is wrong with one rule by itself, and says whether it is good.
func checkRule(k *host.Checker, at string, e gateway.Expose, r route.Rule) bool {
	good := true
	bad := func(path, text, hint string) {
		good = false
		k.Bad(at+"."+path, text, policy.Phrase(hint))
	}
	if e.Redirect != nil {
		if _, ok := redirect(*e.Redirect); !ok {
			bad("redirect.to", fmt.Sprintf("%q is no place", e.Redirect.To), "write https://host/path, https://host or /path")
		}
		for _, f := range []struct {
			name string
			is   bool
		}{{"split", e.Split != nil}, {"mirror", e.Mirror != nil}, {"requestHeaders", e.RequestHeaders != nil}, {"sticky", e.Sticky != nil}, {"listener", e.Listener != ""}} {
			if f.is {
				bad(f.name, "of a path that is redirected, where no service is called", "take it away")
			}
		}
	}
	r.Check(func(path, text, hint string) {
		field, rest, _ := strings.Cut(path, ".")
		if e.Redirect != nil && slices.Contains([]string{"request", "mirror", "sticky"}, field) {
			return // said above
		}
		if (strings.HasPrefix(path, "split[") || path == "mirror.upstream") && strings.HasSuffix(path, ".upstream") && text == "is missing" {
			good = false // a service that is not there, or has no port: see checkOthers
			return
		}
		if path == "upstream" {
			field = "path"
		}
		bad(written(e, field, rest), text, hint)
	})
	if !good || e.Redirect == nil {
		return good
	}
	if _, alone := route.Compile([]route.Rule{r}); len(alone) > 0 { // it leads to itself
		bad("redirect.to", strings.TrimPrefix(alone[0].Why, alone[0].A+": "), "name another place")
	}
	return good
}

// written gives the path of a field of a rule as it is declared.
func written(e gateway.Expose, field, rest string) string {
	name := map[string]string{"request": "requestHeaders", "answer": "answerHeaders"}[field]
	switch {
	case strings.HasPrefix(field, "queries"):
		field = "query" + strings.TrimPrefix(field, "queries")
	case field == "redirect" && rest != "code":
		return "redirect.to"
	case name != "":
		edits := e.RequestHeaders
		if field == "answer" {
			edits = e.AnswerHeaders
		}
		field, rest = name, edit(edits, rest)
	}
	rest = strings.Replace(rest, "upstream", "service", 1)
	return host.JoinPath(field, rest)
}

// edit gives the path of "set[2].value" by the name of the header: "set.X-From".
func edit(e *gateway.Edits, path string) string {
	kind, index, ok := strings.Cut(path, "[")
	n, _, _ := strings.Cut(index, "]")
	i, err := strconv.Atoi(n)
	if !ok || err != nil || kind == "remove" {
		return path
	}
	all := e.Set
	if kind == "add" {
		all = e.Add
	}
	if names := slices.Sorted(maps.Keys(all)); i < len(names) {
		return kind + "." + names[i]
	}
	return kind
}

// checkListener says whether a service has a port of that name.
func checkListener(k *host.Checker, at, service, listener string) bool {
	if listener == "" {
		return true
	}
	var names []string
	for _, l := range workload.Listeners(k.State.Docs[core.Ref{Kind: core.KindService, Name: service}]) {
		if l.Name != "" {
			names = append(names, l.Name)
		}
	}
	if slices.Contains(names, listener) {
		return true
	}
	k.Bad(at+".listener", fmt.Sprintf("service/%s has no port named %q", service, listener), nearest.Hint(listener, names))
	return false
}

// checkOthers looks for the other services that a path leads to.
func checkOthers(k *host.Checker, at string, e gateway.Expose) {
	one := func(at, service, listener string) {
		if !k.Exists(at+".service", core.KindService, service) || !checkListener(k, at, service, listener) {
			return
		}
		switch _, protocol, ok := upstreamOf(k.State, service, listener); {
		case !ok:
			k.Bad(at+".service", "service/"+service+" has no port on which it could be called", "name a service that runs and listens")
		case protocol == workload.TCP:
			k.Bad(at+".service", "service/"+service+" speaks tcp: the gateway routes HTTP", "name one that speaks http or h2c")
		}
	}
	for i, s := range e.Split {
		one(fmt.Sprintf("%s.split[%d]", at, i), s.Service, s.Listener)
	}
	if e.Split != nil && len(e.Split) == 0 {
		k.Bad(at+".split", "leads to no service", "name some, or take it away")
	}
	if e.Split != nil && workload.RunSection.Of(k.Doc).Static != "" {
		k.Bad(at+".split", "the service is files, which the gateway serves by itself", "take it away")
	}
	if e.Split != nil && e.Listener != "" {
		k.Bad(at+".listener", "split says where requests go", "give each side of split a listener")
	}
	if e.Mirror != nil {
		one(at+".mirror", e.Mirror.Service, e.Mirror.Listener)
	}
	if f := e.Fallback; f != nil && f.Service != "" {
		if f.Service == k.Doc.Name && e.Split == nil {
			k.Bad(at+".fallback.service", "is the service that has failed", "name another one")
			return
		}
		one(at+".fallback", f.Service, "")
		other := k.State.Docs[core.Ref{Kind: core.KindService, Name: f.Service}]
		if l, ok := portOf(other, ""); ok && policy.SpeaksGRPC(other, l) {
			k.Bad(at+".fallback.service", "service/"+f.Service+" speaks gRPC (h2c): it cannot answer a GET", "name one that speaks http; if the port serves plain HTTP, give its service a contract: {openapi: FILE}")
		}
	}
}

// checkPolicy checks how the requests of a path are carried.
func checkPolicy(k *host.Checker, at string, e gateway.Expose, r route.Rule, defaults mesh.Defaults) {
	bad := func(path, text, hint string) { k.Bad(at+"."+path, text, hint) }
	policy.Check(e.EdgePolicy, defaults.EdgePolicy, bad)
	if r.Site == "" && r.Redirect == nil {
		policy.CheckMethods(e.Policy, e.Methods, bad)
		checkEffect(k, at, e, r, defaults)
		return
	}
	if field := policy.First(core.EdgePolicy{Policy: e.Policy, Cohort: e.Cohort}); field != "" {
		k.Bad(at+"."+field, "of a path that the gateway answers by itself, where no service is called", "take it away")
	}
}

// checkEffect refuses what would do nothing, so that nobody relies on it.
func checkEffect(k *host.Checker, at string, e gateway.Expose, r route.Rule, defaults mesh.Defaults) {
	services := []gateway.Side{{Service: k.Doc.Name, Listener: e.Listener}}
	if e.Split != nil {
		services = e.Split
	}
	grpc, keyed := len(services) > 0, false
	for _, s := range services {
		doc := k.State.Docs[core.Ref{Kind: core.KindService, Name: s.Service}]
		l, ok := portOf(doc, s.Listener)
		grpc = grpc && ok && policy.SpeaksGRPC(doc, l)
		b := mesh.TrafficSection.Of(doc).Over(defaults.Traffic).Balance
		keyed = keyed || b != nil && (b.By == balance.Ring || b.By == balance.Maglev)
	}
	if grpc {
		policy.CheckGRPC(e.Policy, services[0].Service, func(path, text, hint string) { k.Bad(at+"."+path, text, hint) })
	}
	if s := e.Sticky; s != nil && s.Issue == "" && len(e.Split) < 2 && !keyed {
		k.Bad(at+".sticky", "keeps nothing together: there is no split, and service/"+services[0].Service+" is not balanced by ring or maglev",
			"write sticky: {issue: NAME} for one instance by a cookie of Stoa's, or balance the service by key")
	}
	if m := e.Mirror; m != nil && !m.Unsafe && len(e.Methods) > 0 && !slices.ContainsFunc(e.Methods, func(name string) bool { return name == "GET" || name == "HEAD" || name == "OPTIONS" }) {
		k.Bad(at+".mirror", fmt.Sprintf("copies nothing: the path serves %v, and GET, HEAD and OPTIONS are copied", e.Methods), "set unsafe: true in it, if the other service may act on them, too")
	}
}

// portOf finds a port of a service.
func portOf(doc core.Document, listener string) (workload.Listen, bool) {
	for i, l := range workload.Listeners(doc) {
		if listener != "" && l.Name == listener || listener == "" && i == 0 {
			return l, true
		}
	}
	return workload.Listen{}, false
}

// checkConflicts tells which rule matches the same requests as r, the i-th of its
// service: once, at the later of the two in the order of names.
func checkConflicts(k *host.Checker, at string, i int, r route.Rule) {
	for _, other := range k.State.Of(core.KindService) {
		if other.Name > k.Doc.Name {
			return
		}
		for j, o := range rules(k.State, other) {
			if other.Name == k.Doc.Name && j >= i || route.Check(o) != nil {
				continue
			}
			o.Name = "of " + o.Name // two of one name are told by what they match
			_, found := route.Compile([]route.Rule{o, r})
			if n := slices.IndexFunc(found, func(c route.Conflict) bool { return c.B != "" }); n >= 0 {
				k.Bad(at+".path", found[n].Error(), "change one of them, or give one a host, methods or conditions of its own")
			}
		}
	}
}

// conflicts says whether two routes of the state are in conflict, or may be because one
// of them is wrong: then it is worth looking which.
func conflicts(state core.State) bool {
	var all []route.Rule
	for _, doc := range state.Of(core.KindService) {
		all = append(all, rules(state, doc)...)
	}
	_, found := route.Compile(all)
	return len(found) > 0
}
