package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	apigateway "stoa/api/gateway"
	apiworkload "stoa/api/workload"
	"stoa/client"
	"stoa/internal/door/dash"
	"stoa/internal/door/httpapi"
	"stoa/internal/engine/artefact"
	"stoa/internal/engine/pebblestore"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/journal"
	"stoa/internal/ground/life"
	"stoa/internal/ground/meter"
	"stoa/internal/kernel/blueprint"
	"stoa/internal/kernel/board"
	"stoa/internal/kernel/control"
	"stoa/internal/kernel/fielddocs"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/resources"
	"stoa/internal/kernel/store"
	"stoa/internal/module/contracts"
	"stoa/internal/module/gateway"
	"stoa/internal/module/inject"
	"stoa/internal/module/mesh"
	"stoa/internal/module/node"
	"stoa/internal/module/secrets"
	"stoa/internal/module/stores"
	"stoa/internal/module/telemetry"
	"stoa/internal/module/workload"
)

// The modes of a platform.
const (
	ModeDev    = "dev"
	ModeServer = "server"
)

// Options tell what a Platform is. The zero value is good for its catalog alone.
type Options struct {
	Data        string // data folder
	Mode        string // ModeDev or ModeServer
	Gateway     string // address, stronger than the System's; "" for none
	GatewayNote string // why Gateway is another address than the System's, for people; "" if it is not
	TLS         bool   // the gateway speaks TLS, with certificates of the development CA if none are declared
	Admin       string // address; "" for no admin listener
	AdminFree   bool   // a taken admin address is replaced by a free one
	Secrets     string // file, stronger than the System's; "" for none
	Metrics     bool   // /metrics may be read without a session
	Portable    bool   // HTTP is carried by net/http, not by Stoa's own engines
	StopGrace   time.Duration
	Log         *slog.Logger        // its handler gets what the platform has to say, besides what is kept as lines; nil means slog.Default()
	Getenv      func(string) string // nil means os.Getenv
}

// A Platform is Stoa, composed. New is pure; Run opens the data folder.
type Platform struct {
	o Options

	Catalog   *host.Catalog
	Store     *store.Store
	Board     *board.Board
	Telemetry *telemetry.Module

	control  *control.Controllers
	node     *node.Module
	workload *workload.Module
	inject   *inject.Module
	server   *httpapi.Server
	registry *meter.Registry
	meters   meters
	logins   *httpapi.Logins

	held chan struct{} // closed when reconciling may begin: stoa dev builds first
	down chan struct{} // closed when the platform is asked to stop
	once sync.Once     // closes down

	opened  atomic.Pointer[opened]
	refusal atomic.Pointer[string] // why the blueprint on disk is not in force; nil or "" if it is
}

// opened is what exists once the data folder is open.
type opened struct {
	folder    folder
	journal   *pebblestore.Store
	metered   journal.Store // the same, counted
	artefacts *artefact.Store
	marks     journal.Table
}

// New composes a platform. It opens nothing.
func New(o Options) *Platform {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	p := &Platform{o: o, registry: meter.New(), logins: &httpapi.Logins{}, held: make(chan struct{}), down: make(chan struct{})}
	p.Telemetry = telemetry.New(telemetry.Options{
		Dir: folder{root: o.Data}.logs(), Meters: p.registry, State: func() core.State { return p.Store.State() }, Hide: func(text string) string { return p.workload.Hide(text) },
		Observe: func(ref core.Ref, c core.Condition) { p.Board.Set(ref, c) }, Log: func() *slog.Logger { return p.o.Log },
	})
	o.Log = newLog(p.Telemetry, o.Log.Handler())
	p.o.Log = o.Log
	p.Store = store.New(store.Options{Log: o.Log})
	p.Board = board.New(time.Now)
	p.meters = newMeters(p.registry, p)
	var engine proxy.Engine
	if o.Portable {
		engine = proxy.Portable
	}
	px := proxy.New(proxy.Options{Log: o.Log, Meters: p.registry, Sink: p.Telemetry.Sink(), Candid: o.Mode == ModeDev, Keys: folder{root: o.Data}.keys(), Engine: engine})

	gate := gateway.New(gateway.Ports{
		Folder: p.folderOf,
		Listen: func() string { return o.Gateway },
		TLS:    func() bool { return o.TLS },

		Snapshot: px.Snapshot, State: p.Store.State,
		Load: p.files, Others: func(s core.State) []snapshot.Fragment { return []snapshot.Fragment{mesh.Fragment(s)} },
	})
	p.node = node.New(node.Ports{
		State: p.Store.State, Watch: p.Store.Watch, Observe: p.Board.Set,
		Fragments: []func(core.State) snapshot.Fragment{mesh.Fragment, gate.Fragment},
		Mark:      p.mark, MarkOf: p.markOf,
	}, px, node.Options{Dir: o.Data, Log: o.Log})
	p.workload = workload.New(workload.Ports{
		State:         p.Store.State,
		Kick:          func(ref core.Ref) { p.control.Kick("workload", ref) },
		Grants:        func() []host.Grantor { return p.Catalog.Grants },
		Program:       p.programOf,
		Folder:        p.folderOf,
		WorkDir:       p.workDir,
		Endpoints:     px.SetEndpoints,
		Close:         px.Close,
		Drained:       px.Drained,
		CloseGateways: px.CloseGateways,
		Observe:       p.Board.Set,
		Forget:        p.Board.Clear,
		Line:          p.Telemetry.Line,
		Rates:         p.Telemetry.Rates,
		Mark:          p.mark,
		MarkOf:        p.markOf,
		MarkID:        p.markID,
		Facts:         p.facts,
	}, workload.Options{BaseEnv: baseEnv(o.Getenv), StopGrace: o.StopGrace})

	p.inject = inject.New(inject.Ports{
		State: p.Store.State, Set: px.SetFaults, Hits: px.FaultHits, Mark: p.mark, MarkOf: p.markOf, Observe: p.Board.Set, Withdraw: p.Board.Withdraw,
	}, inject.Options{Log: o.Log})

	p.Catalog = host.Build(
		blueprint.Module{},
		resources.New(resources.Ports{
			Store: p.Store, Board: p.Board, Check: blueprint.CheckState, Strict: blueprint.Strict, HasArtefact: p.hasArtefact,
		}),
		p.Telemetry,
		p.inject,
		p.node,
		p.workload,
		mesh.New(mesh.Ports{Applied: p.node.Applied, Bind: p.node.Bind, State: p.Store.State, Load: p.load}),
		gate,
		stores.New(stores.Ports{State: p.Store.State, Pause: p.workload.Pause, Dir: func() string { return folder{root: o.Data}.stores() }}),
		secrets.New(secrets.Ports{File: func() string { return o.Secrets }, Serves: func() bool { return o.Mode == ModeServer }}),
		contracts.New(),
		house{p},
	)
	p.control = control.New(p.Catalog, p.Store, p.Board, control.Options{Log: o.Log})
	return p
}

// Run opens the data folder, runs everything and calls up when all is. It ends when
// ctx does, or when a part fails.
func (p *Platform) Run(ctx context.Context, up func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with Run
		select {
		case <-p.down:
			cancel()
		case <-stop:
		}
	}()
	if p.o.Data == "" {
		return fault.New(fault.Invalid, "--data", "no data folder is named")
	}
	server, err := p.newServer()
	if err != nil {
		return err
	}
	p.server = server
	parts := []life.Part{
		{Name: "journal", Run: p.runJournal},
		p.Store.Part(func(ctx context.Context) (journal.Log, error) { return p.opened.Load().metered.Log(ctx, "resources") }),
	}
	parts = append(parts, p.Catalog.Parts...)
	parts = append(parts, p.heldPart(), p.collector(), p.server.Part())
	return life.Run(ctx, parts, up, life.Options{
		Ready: func(name string, took time.Duration) { p.o.Log.Debug("ready", "part", name, "took", took) },
	})
}

// Down stops the platform, as if its context had ended.
func (p *Platform) Down() { p.once.Do(func() { close(p.down) }) }

// Done is closed when the platform was asked to stop.
func (p *Platform) Done() <-chan struct{} { return p.down }

// Data gives the data folder.
func (p *Platform) Data() string { return p.o.Data }

// Reconcile lets the reconcilers begin. Until then what is declared is known and nothing is done about it.
func (p *Platform) Reconcile() { close(p.held) }

// Refused says why the blueprint on disk is not in force, "" once it is.
func (p *Platform) Refused(why string) { p.refusal.Store(&why) }

// heldPart is control, once it may begin.
func (p *Platform) heldPart() life.Part {
	part := p.control.Part()
	run := part.Run
	part.Run = func(ctx context.Context, ready func()) error {
		ready() // what the doors need is there
		select {
		case <-p.held:
		case <-ctx.Done():
			return nil
		}
		return run(ctx, func() {})
	}
	return part
}

// runJournal holds the data folder open.
func (p *Platform) runJournal(ctx context.Context, ready func()) error {
	f, err := openFolder(p.o.Data)
	if err != nil {
		return err
	}
	j, err := p.openJournal(ctx, f)
	if err != nil {
		return err
	}
	defer func() {
		if err := j.Close(); err != nil {
			p.o.Log.Error("the journal did not close well", "err", err)
		}
	}()
	a, err := artefact.Open(f.artefacts())
	if err != nil {
		return err
	}
	metered := journal.Metered(j, p.meters.call)
	marks, err := metered.Table(ctx, marksTable)
	if err != nil {
		return err
	}
	p.opened.Store(&opened{folder: f, journal: j, metered: metered, artefacts: a, marks: marks})
	ready()
	<-ctx.Done()
	return nil
}

// diskRetry is how often a journal is tried that cannot be opened for want of space.
const diskRetry = time.Second

// openJournal opens the journal, and waits while its disk is too full to recover on:
// nobody need be there when space is free again.
func (p *Platform) openJournal(ctx context.Context, f folder) (*pebblestore.Store, error) {
	for told := false; ; told = true {
		j, err := pebblestore.Open(ctx, pebblestore.Options{Dir: f.journal(), Log: p.o.Log})
		if !fault.Is(err, fault.Exhausted) {
			return j, err
		}
		if !told {
			p.o.Log.Error("the journal waits for space on its disk", "err", err, "hint", fault.HintOf(err))
		}
		select {
		case <-time.After(diskRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *Platform) newServer() (*httpapi.Server, error) {
	socket, err := client.SocketPath(p.o.Data, p.o.Getenv)
	if err != nil {
		return nil, err
	}
	o := httpapi.Options{
		Catalog: p.Catalog, Version: Version(), Doc: fielddocs.Of,
		Socket: socket, Data: p.o.Data, Admin: p.o.Admin, AdminFree: p.o.AdminFree,
		Logins: p.logins, Dash: dash.Handler(), BodyLimit: map[string]int64{"apply": 64 << 20, "plan": 64 << 20},
		Record: p.meters.operation, Log: p.o.Log,
	}
	if p.o.Metrics {
		o.Open = []string{"GET /metrics"}
	}
	return httpapi.New(o)
}

// Client gives a client of this platform, over its own socket.
func (p *Platform) Client() (*client.Client, error) {
	socket, err := client.SocketPath(p.o.Data, p.o.Getenv)
	if err != nil {
		return nil, err
	}
	return client.New("unix:"+socket, client.Options{})
}

// Artefacts gives the store of artefacts. It is there once the platform is up.
func (p *Platform) Artefacts() *artefact.Store { return p.opened.Load().artefacts }

// GatewayURL gives where the gateway is open, or why it is not.
func (p *Platform) GatewayURL() (string, error) {
	url, _, err := p.node.Gateway(apigateway.ListenerName)
	return url, err
}

// GatewayRoot gives the file of the root to trust if the gateway's certificates come from the
// development CA, or "".
func (p *Platform) GatewayRoot() string {
	_, root, _ := p.node.Gateway(apigateway.ListenerName) // whether it is open is told elsewhere
	return root
}

// AdminURL gives where dashboard and admin API are, or "".
func (p *Platform) AdminURL() string {
	if p.server == nil || p.server.Addr() == "" {
		return ""
	}
	return "http://" + p.server.Addr()
}

// facts fills in what is not the workload's.
func (p *Platform) facts(s *apiworkload.Status) {
	s.Mode, s.Admin, s.GatewayNote, s.Root = p.o.Mode, p.AdminURL(), p.o.GatewayNote, p.GatewayRoot()
	if why := p.refusal.Load(); why != nil {
		s.Refused = *why
	}
	select {
	case <-p.held:
	default:
		s.Awaits = p.o.Mode == ModeDev
	}
	for i := range s.Services {
		v := &s.Services[i]
		ref := core.Ref{Kind: core.KindService, Name: v.Name}
		v.Revision = min(v.Revision, p.node.At())
		v.Faults = p.inject.Of(v.Name)
		for _, typ := range []string{telemetry.BreakerCondition, telemetry.LimitCondition, telemetry.OutliersCondition} {
			if c, ok := p.Board.One(ref, typ); ok && c.Status == core.False {
				v.Guarded = append(v.Guarded, fmt.Sprintf("%s since %s: %s", strings.ToLower(typ), c.Since.Local().Format(time.TimeOnly), c.Message))
			}
		}
		if c, ok := p.Board.One(ref, "Routed"); ok && c.Status == core.False && v.LastError == "" {
			v.LastError, v.Blocked = c.Message, c.Message
		}
		c, ok := p.Board.One(ref, "Built")
		if !ok || c.Status != core.False {
			continue
		}
		v.LastError = "does not build: " + c.Message
		if v.State == apiworkload.StateBuilding {
			v.State = apiworkload.StateFailed
		}
	}
	url, err := p.GatewayURL()
	if s.Gateway = url; err != nil && !fault.Is(err, fault.NotFound) {
		s.GatewayError = strings.TrimSpace(err.Error() + ". " + fault.HintOf(err))
	}
	s.Unprotected = Unprotected
}

// Unprotected are the things that neither mode protects yet, one sentence each.
var Unprotected = []string{
	"Calls between services are not encrypted: they stay on the loopback of this machine.",
	"Another process of this machine can reach the port of an instance and pass the mesh by; so can other machines, if a service listens on more than 127.0.0.1.",
	"Instances run under the user of Stoa and can read each other's files and environment.",
	"Data is not encrypted at rest.",
	"Instances end with Stoa: a restart of Stoa restarts them.",
}

// files reads a blueprint for a request that also a running platform takes: that one reads no
// folder that its caller names.
func (p *Platform) files(ctx context.Context, dir, env string) (core.State, error) {
	if p.o.Data != "" {
		return core.State{}, fault.New(fault.Denied, dir, "a platform reads no files for its callers").WithHint("Ask the command line, which does: stoa explain route METHOD PATH --blueprint DIR.")
	}
	return p.load(ctx, dir, env)
}

// load reads a blueprint for operations that work on files.
func (p *Platform) load(ctx context.Context, dir, env string) (core.State, error) {
	set, err := blueprint.Load(ctx, dir, p.Catalog, blueprint.Options{Env: env})
	if err != nil {
		return core.State{}, err
	}
	if n := len(set.Problems); n > 0 {
		return core.State{}, fault.New(fault.Invalid, dir, "the blueprint has problems (%d); the first: %s", n, set.Problems[0].In(dir)).WithHint("To see all: stoa check %s", dir)
	}
	return set.State(), nil
}

// Version says which build this is.
func Version() string { return version }

// version is stamped by the build: -ldflags "-X stoa/internal/app.version=v1.2.3".
var version = "devel"

func (p *Platform) markID() string {
	if o := p.opened.Load(); o != nil {
		return o.folder.node
	}
	return ""
}

func (p *Platform) folderOf(digest string) (string, error) {
	if o := p.opened.Load(); o != nil {
		return o.artefacts.Path(digest)
	}
	return "", fault.New(fault.Unavailable, digest, "the data folder is not open")
}

func (p *Platform) hasArtefact(digest string) bool {
	_, err := p.folderOf(digest)
	return err == nil
}

// programOf gives a path of the artefact that ends in the program's name, for whoever
// looks at a list of processes.
func (p *Platform) programOf(digest, name string) (string, error) {
	path, err := p.folderOf(digest)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(p.opened.Load().folder.programs(), filepath.Base(path)[:16])
	link := filepath.Join(dir, name)
	if to, err := os.Readlink(link); err == nil && to == path {
		return link, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("program of %s: %w", name, err)
	}
	_ = os.Remove(link) // it leads elsewhere, or is not there
	if err := os.Symlink(path, link); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("program of %s: %w", name, err)
	}
	return link, nil
}

func (p *Platform) workDir(service string) (string, error) {
	dir := filepath.Join(folder{root: p.o.Data}.work(), service)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("working folder of %s: %w", service, err)
	}
	return dir, nil
}

// mark keeps a small fact, or forgets it if the value is "".
func (p *Platform) mark(ctx context.Context, key, value string) error {
	marks := p.opened.Load().marks
	for range 8 { // writers of one key are few: one loses now and then
		_, at, err := marks.Get(ctx, key)
		if err != nil {
			return err
		}
		if value == "" {
			if at == 0 {
				return nil
			}
			err = marks.Delete(ctx, key, at)
		} else {
			_, err = marks.Put(ctx, key, []byte(value), at)
		}
		if !errors.Is(err, journal.ErrStale) {
			return err
		}
	}
	return fault.New(fault.Conflict, key, "is written by too many at once")
}

// ForgetMarks forgets what is kept under keys with the prefix.
func (p *Platform) ForgetMarks(ctx context.Context, prefix string) error {
	var keys []string
	for kv, err := range p.opened.Load().marks.Scan(ctx, prefix) {
		if err != nil {
			return err
		}
		keys = append(keys, kv.Key)
	}
	for _, k := range keys {
		if err := p.mark(ctx, k, ""); err != nil {
			return err
		}
	}
	return nil
}

func (p *Platform) markOf(ctx context.Context, key string) (string, error) {
	v, _, err := p.opened.Load().marks.Get(ctx, key)
	return string(v), err
}

// baseEnv is what every instance gets besides what is declared: what programs need to
// find others, to know the user's home and to speak their language.
func baseEnv(getenv func(string) string) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v := getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Login gives a link that logs one browser into the dashboard, or "" without an admin listener.
func (p *Platform) Login(life time.Duration) string {
	if p.server == nil {
		return ""
	}
	return p.server.Login(life)
}
