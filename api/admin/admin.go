// Package admin is the twin of what app declares by itself: the life of the platform.
package admin

import "stoa/api/op"

// LoginOut is a link that logs one browser in.
type LoginOut struct {
	URL string `json:"url"` // good for a minute, and once
}

// BackupIn says where a backup goes.
type BackupIn struct {
	Dir string `json:"dir" arg:"DIR" help:"a folder that does not exist yet, for the platform to write"`
}

// BackupOut says what was written.
type BackupOut struct {
	Dir       string `json:"dir"`
	Revision  uint64 `json:"revision"` // that it holds
	Logs      int    `json:"logs"`     // that were opened and read in it
	Artefacts int    `json:"artefacts"`
	Bytes     int64  `json:"bytes"`
}

// Done says what an operation has done, in a sentence.
type Done struct {
	Message string `json:"message"`
}

// DownOut says that the platform is stopping.
type DownOut struct {
	Message string `json:"message"`
	Process int    `json:"process"` // the one to wait for, of this machine: when it has ended, so has everything
}

// The operations.
var (
	DownOp   = op.Op[op.None, DownOut]{Name: "down", Help: "stop the platform and everything that it runs", Example: "stoa down", Effect: op.Write}
	LoginOp  = op.Op[op.None, LoginOut]{Name: "dash", Help: "give a link that opens the dashboard, once", Example: "stoa dash", Effect: op.Write}
	BackupOp = op.Op[BackupIn, BackupOut]{Name: "backup", Help: "write a backup of the journal and the artefacts, and verify it", Example: "stoa backup /var/backups/shop-1", Effect: op.Write}
)
