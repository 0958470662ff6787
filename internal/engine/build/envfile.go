package build

import (
	"regexp"
	"strconv"
	"strings"

	"stoa/api/fault"
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseEnvFile reads lines of NAME=value. A line may begin with "export"; empty lines
// and lines that begin with # mean nothing. A value in double quotes is read like a Go
// string, one in single quotes as it is; any other is taken to the end of the line,
// without the blanks around it. Nothing is expanded. name is for messages, which do not
// show values.
func ParseEnvFile(name string, b []byte) (map[string]string, error) {
	out := map[string]string{}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := name + ":" + strconv.Itoa(i+1)
		key, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || !variable.MatchString(key) {
			return nil, fault.New(fault.Invalid, at, "want NAME=value")
		}
		if _, twice := out[key]; twice {
			return nil, fault.New(fault.Invalid, at, "%s is given twice", key)
		}
		switch {
		case strings.HasPrefix(value, `"`):
			v, err := strconv.Unquote(value)
			if err != nil {
				return nil, fault.New(fault.Invalid, at, "the value of %s has no closing quote, or an escape that is none", key)
			}
			value = v
		case strings.HasPrefix(value, `'`):
			if len(value) < 2 || !strings.HasSuffix(value, `'`) {
				return nil, fault.New(fault.Invalid, at, "the value of %s has no closing quote", key)
			}
			value = value[1 : len(value)-1]
		}
		if strings.ContainsRune(value, 0) {
			return nil, fault.New(fault.Invalid, at, "the value of %s holds a NUL byte", key)
		}
		out[key] = value
	}
	return out, nil
}
