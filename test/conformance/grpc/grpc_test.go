// Package grpc runs gRPC's interoperability cases, with the client and the server of the
// Go implementation, through each listener of the data plane.
package grpc

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"stoa/internal/engine/snapshot"
	"stoa/test/conformance/stand"
)

// patience bounds a case.
const patience = 60 * time.Second

// failure is what a case says when it fails: the cases call Fatal of gRPC's log.
type failure string

// judge is gRPC's log, for which a fatal line is the end of a case, not of the program.
type judge struct{ grpclog.LoggerV2 }

func (judge) Fatal(args ...any)            { panic(failure(fmt.Sprint(args...))) }
func (judge) Fatalln(args ...any)          { panic(failure(fmt.Sprintln(args...))) }
func (judge) Fatalf(f string, args ...any) { panic(failure(fmt.Sprintf(f, args...))) }

func init() { grpclog.SetLoggerV2(judge{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)}) }

// cases are those of gRPC's interop-test-descriptions that need no cloud.
var cases = []struct {
	name string
	run  func(context.Context, *grpc.ClientConn, testpb.TestServiceClient)
}{
	{"empty_unary", on(interop.DoEmptyUnaryCall)},
	{"large_unary", on(interop.DoLargeUnaryCall)},
	{"client_streaming", on(interop.DoClientStreaming)},
	{"server_streaming", on(interop.DoServerStreaming)},
	{"ping_pong", on(interop.DoPingPong)},
	{"empty_stream", on(interop.DoEmptyStream)},
	{"timeout_on_sleeping_server", on(interop.DoTimeoutOnSleepingServer)},
	{"cancel_after_begin", on(interop.DoCancelAfterBegin)},
	{"cancel_after_first_response", on(interop.DoCancelAfterFirstResponse)},
	{"custom_metadata", on(interop.DoCustomMetadata)},
	{"status_code_and_message", on(interop.DoStatusCodeAndMessage)},
	{"special_status_message", on(interop.DoSpecialStatusMessage)},
	{"unimplemented_method", func(ctx context.Context, cc *grpc.ClientConn, _ testpb.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, cc)
	}},
	{"unimplemented_service", func(ctx context.Context, cc *grpc.ClientConn, _ testpb.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(cc))
	}},
	{"two hundred calls", func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		for range 200 { // many small calls on one connection
			interop.DoEmptyUnaryCall(ctx, c)
		}
	}},
}

func on(f func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, testpb.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) { f(ctx, c) }
}

func TestInterop(t *testing.T) {
	ln := stand.Listen(t)
	srv := grpc.NewServer()
	testpb.RegisterTestServiceServer(srv, interop.NewTestServer())
	go srv.Serve(ln)
	t.Cleanup(srv.Stop)
	for engine, e := range stand.Engines {
		s := stand.Open(t, e, snapshot.H2C, ln.Addr().String())
		for name, addr := range s.Listeners() {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				creds := insecure.NewCredentials()
				if addr == s.Secure {
					creds = credentials.NewTLS(s.TLS("h2"))
				}
				cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
				if err != nil {
					t.Fatal(err)
				}
				defer cc.Close()
				for _, c := range cases {
					t.Run(c.name, func(t *testing.T) {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						defer func() {
							if v := recover(); v != nil {
								f, ok := v.(failure)
								if !ok {
									panic(v)
								}
								t.Error(string(f))
							}
						}()
						c.run(ctx, cc, testpb.NewTestServiceClient(cc))
					})
				}
			})
		}
	}
}
