package cli

// Misuse gives an error that says that the command line cannot be carried out as it is
// written: the exit code is 2. hint may be empty.
func Misuse(msg, hint string) error { return &misuse{msg: msg, hint: hint} }
