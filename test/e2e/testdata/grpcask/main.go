// Command grpcask is a client of the shop's inventory by the real gRPC library, for the
// end-to-end tests. It is built in the shop's module, which has that library.
//
//	grpcask ADDR           asks once, unary and as a stream, and prints what it was told
//	grpcask ADDR UNTIL     asks on one connection until the file UNTIL is there, and prints
//	                       how many calls it made, and the error of the first that failed
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"example.com/shop/inventory/inventorypb"
)

func main() {
	conn, err := grpc.NewClient("passthrough:///"+os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err == nil {
		defer conn.Close()
		err = ask(conn)
	}
	if err != nil {
		fmt.Printf("error %s: %s\n", status.Code(err), status.Convert(err).Message())
		os.Exit(1)
	}
}

func ask(conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	inventory := inventorypb.NewInventoryClient(conn)
	stock := func() (*inventorypb.GetStockResponse, error) {
		return inventory.GetStock(ctx, &inventorypb.GetStockRequest{Skus: []string{"none-such"}})
	}
	if len(os.Args) > 2 {
		calls := 0
		for {
			if _, err := os.Stat(os.Args[2]); err == nil {
				fmt.Println("calls", calls)
				return nil
			}
			if _, err := stock(); err != nil {
				return err
			}
			if calls++; calls == 1 {
				fmt.Println("began")
			}
		}
	}
	got, err := stock()
	if err != nil {
		return err
	}
	for _, s := range got.Stock {
		fmt.Println("stock", s.Sku, s.Available)
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	first, err := watch.Recv()
	if err != nil {
		return err
	}
	fmt.Println("stream", first.Status)
	err = conn.Invoke(ctx, "/shop.warehouse.v1.Inventory/NoSuchMethod", &inventorypb.GetStockRequest{}, &inventorypb.GetStockResponse{})
	fmt.Println("no such method", status.Code(err))
	return nil
}
