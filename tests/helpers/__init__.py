"""What several files of tests share: tiny models and data, made-up records, a hub to stand in, simulations."""
