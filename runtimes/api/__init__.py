"""What an embedder holds: a model, its chats, their streams, and the calls behind them."""
