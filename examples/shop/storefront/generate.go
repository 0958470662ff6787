package main

// protoc from your system (Debian: protobuf-compiler), the two plugins by:
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@latest google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest

//go:generate protoc -I ../inventory --go_out=inventorypb --go_opt=paths=source_relative --go-grpc_out=inventorypb --go-grpc_opt=paths=source_relative --go_opt=Minventory.proto=example.com/shop/storefront/inventorypb --go-grpc_opt=Minventory.proto=example.com/shop/storefront/inventorypb inventory.proto
