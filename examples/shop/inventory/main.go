// Inventory is the warehouse: it knows what lies on the shelves and what of it is promised.
//
// It speaks gRPC only (inventory.proto). A reservation is held under the caller's
// own id, so that every call may be repeated. A delivery fills the shelves up again
// every RESTOCK_EVERY (default 1m, 0 for never).
package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"example.com/shop/internal/grpctrace"
	"example.com/shop/internal/serve"
	"example.com/shop/internal/sqlitedb"
	"example.com/shop/inventory/inventorypb"
)

func main() {
	log := serve.Log()
	if err := run(log); err != nil {
		log.Error("ended badly", "err", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	restock, err := time.ParseDuration(cmp.Or(os.Getenv("RESTOCK_EVERY"), "1m"))
	if err != nil {
		return err
	}
	db, err := sqlitedb.OpenEnv()
	if err != nil {
		return err
	}
	defer db.Close()
	shelves, err := Open(ctx, db)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8080"))
	if err != nil {
		return err
	}
	return serveGRPC(ctx, listener, shelves, restock, log)
}

// serveGRPC serves until ctx ends, then lets the calls in flight end.
func serveGRPC(ctx context.Context, listener net.Listener, shelves *Shelves, restock time.Duration, log *slog.Logger) error {
	server := grpc.NewServer(
		grpctrace.Server(),
		grpc.MaxRecvMsgSize(1<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute}),
	)
	probes := health.NewServer()
	healthpb.RegisterHealthServer(server, probes)
	inventorypb.RegisterInventoryServer(server, &Server{shelves: shelves, log: log})

	var background sync.WaitGroup
	defer background.Wait()
	work, end := context.WithCancel(ctx)
	defer end()
	if restock > 0 {
		background.Go(func() { deliver(work, shelves, restock, log) })
	}
	background.Go(func() {
		<-work.Done()
		log.Info("draining", "grace", serve.Grace.String())
		probes.Shutdown() // from now on NOT_SERVING
		giveUp := time.AfterFunc(serve.Grace, server.Stop)
		defer giveUp.Stop()
		server.GracefulStop()
	})

	log.Info("serving", "addr", listener.Addr().String(), "protocol", "grpc")
	err := server.Serve(listener)
	log.Info("stopped")
	return err
}

// deliver fills the shelves up every so often until ctx ends.
func deliver(ctx context.Context, shelves *Shelves, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			pieces, err := shelves.Restock(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				log.Error("delivery could not be shelved", "err", err)
			case pieces > 0:
				log.Info("delivery shelved", "pieces", pieces)
			}
		}
	}
}
