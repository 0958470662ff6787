package main

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/shop/inventory/inventorypb"
)

const (
	maxItems    = 100  // in one request, so that one caller cannot hold the writer for long
	maxQuantity = 1000 // of one SKU
)

// Server answers inventory.proto from the shelves.
type Server struct {
	inventorypb.UnimplementedInventoryServer
	shelves *Shelves
	log     *slog.Logger
}

// GetStock tells how many pieces can be promised now.
func (s *Server) GetStock(ctx context.Context, r *inventorypb.GetStockRequest) (*inventorypb.GetStockResponse, error) {
	if len(r.Skus) > maxItems {
		return nil, status.Errorf(codes.InvalidArgument, "skus: %d given, at most %d", len(r.Skus), maxItems)
	}
	out := &inventorypb.GetStockResponse{}
	for _, sku := range r.Skus {
		n, err := s.shelves.Available(ctx, sku)
		if err != nil {
			return nil, s.broken(ctx, "stock not read", err)
		}
		out.Stock = append(out.Stock, &inventorypb.Stock{Sku: sku, Available: int32(n)})
	}
	return out, nil
}

// ReserveStock holds all the items or none.
func (s *Server) ReserveStock(ctx context.Context, r *inventorypb.ReserveStockRequest) (*inventorypb.ReserveStockResponse, error) {
	items, err := itemsOf(r)
	if err != nil {
		return nil, err
	}
	short, err := s.shelves.Reserve(ctx, r.ReservationId, items)
	switch {
	case errors.Is(err, errReleased):
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	case err != nil:
		return nil, s.broken(ctx, "stock not reserved", err)
	}
	out := &inventorypb.ReserveStockResponse{Reserved: len(short) == 0}
	for _, it := range short {
		out.Short = append(out.Short, &inventorypb.Stock{Sku: it.SKU, Available: int32(it.Quantity)})
	}
	s.log.InfoContext(ctx, "stock asked for", "reservation", r.ReservationId, "reserved", out.Reserved)
	return out, nil
}

// ReleaseStock gives up a reservation.
func (s *Server) ReleaseStock(ctx context.Context, r *inventorypb.ReleaseStockRequest) (*inventorypb.ReleaseStockResponse, error) {
	if r.ReservationId == "" {
		return nil, status.Error(codes.InvalidArgument, "reservation_id: missing")
	}
	released, err := s.shelves.Release(ctx, r.ReservationId)
	if err != nil {
		return nil, s.broken(ctx, "stock not released", err)
	}
	s.log.InfoContext(ctx, "stock released", "reservation", r.ReservationId, "held", released)
	return &inventorypb.ReleaseStockResponse{Released: released}, nil
}

func itemsOf(r *inventorypb.ReserveStockRequest) ([]Item, error) {
	if r.ReservationId == "" {
		return nil, status.Error(codes.InvalidArgument, "reservation_id: missing")
	}
	if n := len(r.Items); n == 0 || n > maxItems {
		return nil, status.Errorf(codes.InvalidArgument, "items: %d given, want 1 to %d", n, maxItems)
	}
	seen := map[string]bool{}
	items := make([]Item, 0, len(r.Items))
	for i, it := range r.Items {
		if it.GetSku() == "" || seen[it.GetSku()] {
			return nil, status.Errorf(codes.InvalidArgument, "items[%d].sku: %q is missing or there twice", i, it.GetSku())
		}
		if q := it.GetQuantity(); q < 1 || q > maxQuantity {
			return nil, status.Errorf(codes.InvalidArgument, "items[%d].quantity: %d, want 1 to %d", i, q, maxQuantity)
		}
		seen[it.GetSku()] = true
		items = append(items, Item{it.GetSku(), int(it.GetQuantity())})
	}
	return items, nil
}

// broken logs err and returns what the caller may know of it. A call that was
// cancelled or ran out of time is the caller's, not ours.
func (s *Server) broken(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	s.log.ErrorContext(ctx, what, "err", err)
	return status.Error(codes.Internal, what)
}
