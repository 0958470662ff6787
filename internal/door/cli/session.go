package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stoa/api/fault"
	"stoa/client"
	"stoa/internal/kernel/host"
)

// A Session is what a command is given: its surroundings and the global flags. One
// goroutine uses it.
type Session struct {
	Env
	Catalog *host.Catalog
	Version string

	JSON   bool   // --json
	Yes    bool   // --yes
	Data   string // --data, as given
	Socket string // --socket, as given

	dial    func(context.Context, *Session) (*client.Client, error)
	client  *client.Client
	careful bool          // no guess which platform is meant
	code    int           // of a command that ends without an error
	failure func(int) int // the request's say in the code of a failure; may be nil
}

// Talk writes a line to stderr, for people only: with --json it says nothing.
func (s *Session) Talk(format string, args ...any) {
	if !s.JSON {
		fmt.Fprintf(s.Stderr, format+"\n", args...)
	}
}

// Show writes a result to stdout: as JSON with --json, else as a table of its fields.
// A result with a method ExitCode() int decides the exit code; one
// whose method Failed() bool says true makes it 1.
func (s *Session) Show(out any) error { return s.show(nil, out, false) }

// Done sets the exit code of a command that ends well, where it means something else than 0.
func (s *Session) Done(code int) { s.code = code }

// Event writes one of many results to stdout: as one line of JSON with --json, else as text.
func (s *Session) Event(out any, text string) error {
	if s.JSON {
		return s.show(nil, out, true)
	}
	_, err := fmt.Fprintln(s.Stdout, text)
	return err
}

// Client gives the client of the platform that is meant. It is the same at each call
// and is closed with the session. Nothing has been sent yet.
func (s *Session) Client(ctx context.Context) (*client.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	dial := s.dial
	if dial == nil {
		dial = func(_ context.Context, s *Session) (*client.Client, error) {
			path, err := s.socketPath()
			if err != nil {
				return nil, err
			}
			return client.New("unix:"+path, client.Options{})
		}
	}
	c, err := dial(ctx, s)
	if err == nil {
		s.client = c
	}
	return c, err
}

func (s *Session) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// DataName is the data folder's name beside a blueprint.
const DataName = ".stoa"

// DataDir gives the data folder that is meant: --data, else STOA_DATA, else the nearest
// .stoa folder at or above the working folder, else "" for none.
func (s *Session) DataDir() string {
	given := s.Data
	if given == "" {
		given = s.Getenv("STOA_DATA")
	}
	if given != "" {
		if !filepath.IsAbs(given) {
			given = filepath.Join(s.Dir, given)
		}
		return given
	}
	for dir := s.Dir; dir != ""; dir = filepath.Dir(dir) {
		p := filepath.Join(dir, DataName)
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			return p
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return ""
}

// socketPath gives the socket of the platform that is meant.
func (s *Session) socketPath() (string, error) {
	if s.Socket != "" {
		if filepath.IsAbs(s.Socket) {
			return s.Socket, nil
		}
		return filepath.Join(s.Dir, s.Socket), nil
	}
	if data := s.DataDir(); data != "" {
		if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
			return "", client.NotRunning(data, errors.New("there is no such data folder"))
		}
		return client.FindSocket(data, s.Getenv)
	}
	// The folder says nothing: the only platform that runs must be the one.
	running := client.Platforms(s.Getenv)
	switch len(running) {
	case 0:
		return "", client.NotRunning("", errors.New("no platform of this user runs"))
	case 1:
		if !s.careful {
			s.Talk("On the platform of %s", plainText(running[0].Data))
			return running[0].Socket, nil
		}
	}
	var dirs []string
	for _, r := range running {
		dirs = append(dirs, r.Data)
	}
	return "", &misuse{msg: "it is not said which platform is meant", hint: "Say it by --data: " + strings.Join(dirs, ", ")}
}

// confirm asks before something is lost. Without a person to ask it wants --yes.
func (s *Session) confirm(ctx context.Context, c Command) error {
	if s.Yes {
		return nil
	}
	return s.Confirm(ctx, fmt.Sprintf("stoa %s: %s. This cannot be undone.", c.Name, c.Help))
}

// Confirm asks a person whether to go on and gives a fault that means refused if not.
// Without a terminal, or with --json, it asks nobody and wants --yes.
func (s *Session) Confirm(ctx context.Context, question string) error {
	if s.Yes {
		return nil
	}
	no := fault.New(fault.Denied, "", "not confirmed, so nothing was done").WithHint("Answer yes, or pass --yes.")
	if !s.StdinTTY || !s.StderrTTY || s.JSON {
		return fault.New(fault.Denied, "", "this loses something and nobody is there to ask, so nothing was done").WithHint("Pass --yes to go on.")
	}
	fmt.Fprintf(s.Stderr, "%s\nGo on? [y/N] ", plainText(question))
	// Reading a terminal cannot be cancelled: after an interrupt this goroutine ends with the process.
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.Stdin).ReadString('\n') // what was read counts; nothing is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return no
	case <-ctx.Done():
		fmt.Fprintln(s.Stderr)
		return ctx.Err()
	}
}
