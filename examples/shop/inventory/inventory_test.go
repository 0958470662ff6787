package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"example.com/shop/internal/sqlitedb"
	"example.com/shop/inventory/inventorypb"
)

func shelves(t *testing.T) *Shelves {
	t.Helper()
	db, err := sqlitedb.Open(filepath.Join(t.TempDir(), "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start serves as the process does, and returns a connection and what ends it.
func start(t *testing.T) (conn *grpc.ClientConn, stop func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	s := shelves(t)
	go func() { ended <- serveGRPC(ctx, listener, s, 0, slog.New(slog.DiscardHandler)) }()
	conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { conn.Close(); stop() })
	return conn, stop
}

// Stories in a notation that one can read: +id sku:n… reserves, -id releases, !restock
// fills up, and what follows the arrow is the answer and then what is left.
func TestShelves(t *testing.T) {
	for _, c := range []struct{ name, story, want, left string }{
		{"held", "+a bowl:20", "ok", "bowl:100"},
		{"all or none", "+a bowl:20,chair:21", "short chair:20", "bowl:120 chair:20"},
		{"the same again holds nothing twice", "+a bowl:20; +a bowl:20", "ok ok", "bowl:100"},
		{"released", "+a bowl:20; -a", "ok freed", "bowl:120"},
		{"released twice frees once", "+a bowl:20; -a; -a", "ok freed nothing", "bowl:120"},
		{"a release that overtakes its reservation", "-a; +a bowl:20", "nothing refused", "bowl:120"},
		{"a released id does not come back", "+a bowl:20; -a; +a bowl:20", "ok freed refused", "bowl:120"},
		{"what was short may come later", "+a chair:15; +b chair:15; -a; +b chair:15", "ok short chair:5 freed ok", "chair:5"},
		{"an unknown sku has none", "+a zeppelin:1", "short zeppelin:0", ""},
		{"sold out", "+a stool:1", "short stool:0", ""},
		{"a delivery fills up", "+a chair:15; !restock", "ok 15", "chair:20"},
		{"a return after a delivery is kept", "+a chair:15; !restock; -a", "ok 15 freed", "chair:35"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := shelves(t)
			var got []string
			for step := range strings.SplitSeq(c.story, "; ") {
				got = append(got, tell(t, s, step))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("%s: got %q, want %q", c.story, g, c.want)
			}
			for _, it := range items(c.left) {
				if n, err := s.Available(t.Context(), it.SKU); err != nil || n != it.Quantity {
					t.Errorf("%s: %d of %s left (%v), want %d", c.story, n, it.SKU, err, it.Quantity)
				}
			}
		})
	}
}

func tell(t *testing.T, s *Shelves, step string) string {
	t.Helper()
	verb, rest := step[0], step[1:]
	switch verb {
	case '+':
		id, list, _ := strings.Cut(rest, " ")
		short, err := s.Reserve(t.Context(), id, items(list))
		switch {
		case err == errReleased:
			return "refused"
		case err != nil:
			t.Fatal(err)
		case len(short) > 0:
			return fmt.Sprintf("short %s:%d", short[0].SKU, short[0].Quantity)
		}
		return "ok"
	case '-':
		freed, err := s.Release(t.Context(), rest)
		if err != nil {
			t.Fatal(err)
		}
		if !freed {
			return "nothing"
		}
		return "freed"
	}
	n, err := s.Restock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(n)
}

func items(list string) (items []Item) {
	for _, f := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		var it Item
		it.SKU, _, _ = strings.Cut(f, ":")
		fmt.Sscanf(f[len(it.SKU):], ":%d", &it.Quantity)
		items = append(items, it)
	}
	return items
}

// Many who want the last pieces at once get as many as there are, and no more.
func TestTheLastPiecesAreSoldOnce(t *testing.T) {
	s := shelves(t)
	var held atomic.Int32
	var all sync.WaitGroup
	for i := range 12 { // for 20 chairs, two each
		all.Go(func() {
			short, err := s.Reserve(t.Context(), fmt.Sprint("o", i), []Item{{"chair", 2}})
			if err != nil {
				t.Error(err)
			} else if len(short) == 0 {
				held.Add(1)
			}
		})
	}
	all.Wait()
	if held.Load() != 10 {
		t.Errorf("%d reservations of two chairs were held, want 10 of 20 chairs", held.Load())
	}
}

// The service gives what inventory.proto promises.
func TestContract(t *testing.T) {
	conn, _ := start(t)
	client := inventorypb.NewInventoryClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	got, err := client.GetStock(ctx, &inventorypb.GetStockRequest{Skus: []string{"lamp", "zeppelin"}})
	if err != nil || len(got.Stock) != 2 || got.Stock[0].Available != 30 || got.Stock[1].Available != 0 {
		t.Errorf("GetStock: %v, %v; want 30 lamps and no zeppelin, in that order", got, err)
	}
	reserve := func(id string, items ...*inventorypb.Item) (*inventorypb.ReserveStockResponse, error) {
		return client.ReserveStock(ctx, &inventorypb.ReserveStockRequest{ReservationId: id, Items: items})
	}
	if r, err := reserve("a", &inventorypb.Item{Sku: "lamp", Quantity: 2}); err != nil || !r.Reserved {
		t.Errorf("ReserveStock: %v, %v; want it reserved", r, err)
	}
	if r, err := reserve("b", &inventorypb.Item{Sku: "lamp", Quantity: 29}); err != nil || r.Reserved || r.Short[0].Available != 28 {
		t.Errorf("ReserveStock of too many: %v, %v; want 28 lamps told", r, err)
	}
	if r, err := client.ReleaseStock(ctx, &inventorypb.ReleaseStockRequest{ReservationId: "a"}); err != nil || !r.Released {
		t.Errorf("ReleaseStock: %v, %v; want it released", r, err)
	}
	if _, err := reserve("a", &inventorypb.Item{Sku: "lamp", Quantity: 2}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("ReserveStock after its release: %v, want FailedPrecondition", err)
	}
	for name, items := range map[string][]*inventorypb.Item{
		"none": nil, "no sku": {{Quantity: 1}}, "nought": {{Sku: "lamp"}}, "twice": {{Sku: "lamp", Quantity: 1}, {Sku: "lamp", Quantity: 1}},
	} {
		if _, err := reserve("c", items...); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ReserveStock of %s: %v, want InvalidArgument", name, err)
		}
	}
}

// It says SERVING, and when it is told to stop it ends by itself.
func TestHealthAndDrain(t *testing.T) {
	conn, stop := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v, %v; want SERVING", res, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v, want a clean end", err)
	}
}
