// Every garment of a photo with the products that look like it: main ADDRESS PHOTO [FILTER]
//
// Built with Go 1.19 and google.golang.org/grpc 1.33; with 1.63 and newer, grpc.NewClient and
// grpc.WithTransportCredentials(insecure.NewCredentials()) stand for grpc.Dial and grpc.WithInsecure.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "example.com/shop/gen/lookalike/v1"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: main ADDRESS PHOTO [FILTER]")
	}
	photo, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	conn, err := grpc.Dial(os.Args[1], grpc.WithInsecure(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request := &pb.SearchProductsRequest{Query: &pb.SearchProductsRequest_Image{Image: photo}, PageSize: 5}
	if len(os.Args) > 3 {
		request.Filter = os.Args[3]
	}
	answer, err := pb.NewSearchServiceClient(conn).SearchProducts(ctx, request)
	if err != nil {
		log.Fatal(sentence(status.Convert(err)))
	}
	for _, result := range answer.Results {
		fmt.Println(result.Garment.Category)
		for _, hit := range result.Hits {
			fmt.Printf("  %.3f %s\n", hit.Score, hit.Product.Title)
		}
	}
}

// sentence says what a call ended in, with the word that programs act on.
func sentence(refused *status.Status) string {
	for _, detail := range refused.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason + ": " + refused.Message()
		}
	}
	return refused.Code().String() + ": " + refused.Message()
}
