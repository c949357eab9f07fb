"""The gateway of Lookalike: photos and products in over gRPC, lookalikes out."""
