package process

// self is this binary, even when its file has been replaced or removed since.
func self() string { return "/proc/self/exe" }
