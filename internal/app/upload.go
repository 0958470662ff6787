package app

import (
	"context"
	"errors"
	"io"
	"net/http"

	"stoa/api/fault"
	"stoa/client"
	"stoa/internal/engine/artefact"
)

// artefactsPath is where artefacts are sent: PUT with a tar stream, HEAD to ask for one.
// It is no operation, because its request is a stream.
const artefactsPath = "/artefacts/"

// MaxUpload bounds one upload, in bytes: the content and what tar adds to it.
const MaxUpload = artefact.MaxBytes + artefact.MaxFiles*1024

// takeArtefact stores what is sent.
func (p *Platform) takeArtefact(w http.ResponseWriter, r *http.Request) {
	o := p.opened.Load()
	err := o.artefacts.Unpack(r.PathValue("digest"), http.MaxBytesReader(w, r.Body, MaxUpload))
	if err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(fault.KindOf(err).HTTPStatus())
		_, _ = w.Write(fault.Encode(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// hasOne answers whether an artefact is there.
func (p *Platform) hasOne(w http.ResponseWriter, r *http.Request) {
	if !p.opened.Load().artefacts.Has(r.PathValue("digest")) {
		w.WriteHeader(http.StatusNotFound)
	}
}

// SendArtefact stores an artefact in the platform, unless it is there.
func SendArtefact(ctx context.Context, c *client.Client, from *artefact.Store, digest string) error {
	has, err := c.Raw(ctx, http.MethodHead, artefactsPath+digest, nil)
	if err != nil {
		return err
	}
	has.Body.Close()
	if has.StatusCode == http.StatusOK {
		return nil
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := from.Pack(digest, w)
		w.CloseWithError(err)
		packed <- err
	}()
	resp, err := c.Raw(ctx, http.MethodPut, artefactsPath+digest, r)
	r.CloseWithError(errors.New("the platform has answered"))
	<-packed // its failure shows in the answer: the digest does not fit
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if f, derr := fault.Decode(b); derr == nil {
		return f
	}
	return fault.New(fault.Internal, digest, "the platform answered %s", resp.Status)
}
