"""The contract as Python: messages and stubs generated from proto/lookalike/v1 (see CONTRIBUTING.md)."""
