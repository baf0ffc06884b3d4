"""Tables of formats, engines and priors, and the loader that checks them."""
