"""How good the served ensemble is on photographs: every figure is measured over gRPC, as a shop would see it."""
