// Package grpctrace carries the trace of a request through gRPC metadata, as
// package serve does through HTTP headers.
package grpctrace

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"example.com/shop/internal/serve"
)

// Client sends the trace of a call's context along.
func Client() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if header := serve.Traceparent(ctx); header != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", header)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

// Server gives each call a context that carries its trace.
func Server() grpc.ServerOption {
	return grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		var header string
		if got := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(got) == 1 {
			header = got[0]
		}
		return handle(serve.WithTraceparent(ctx, header), req)
	})
}
