"""What runs a net: `run(inputs) -> outputs`, arrays in, arrays out."""
