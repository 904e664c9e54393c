"""The known data sets: what each is, said once, and how its clips become manifests."""
