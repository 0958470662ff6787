package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"stoa/test/browser/chrome"
)

// TestPictures takes pictures of the page into $STOA_SHOTS, for people to look at. It
// claims only that every system, size and theme comes up without an error.
func TestPictures(t *testing.T) {
	dir := os.Getenv("STOA_SHOTS")
	sizes := map[string][2]int{"wide": {1440, 900}, "laptop": {1280, 900}, "narrow": {390, 844}}
	systems := []string{"hello", "shop", "trouble", "gameday", "big"}
	if dir == "" { // every system once
		dir = t.TempDir()
		sizes = map[string][2]int{"wide": {1440, 900}}
		systems = append(systems, "empty", "huge")
	}
	for _, system := range systems {
		for size, wh := range sizes {
			for _, dark := range []bool{false, true} {
				theme := map[bool]string{false: "light", true: "dark"}[dark]
				t.Run(fmt.Sprintf("%s-%s-%s", system, size, theme), func(t *testing.T) {
					s := start(t, system)
					p := chrome.Open(t, chrome.Options{Width: wh[0], Height: wh[1], Dark: dark, Motion: true})
					p.Go(s.login)
					p.Until("the page is open", `document.body.dataset.phase === "open"`)
					if system != "empty" {
						p.Until("the map has lines", `document.querySelectorAll('.edge').length > 0 && document.querySelectorAll('.logline').length > 5`)
						p.Until("figures have come twice", `document.querySelector('.spark .stroke')?.getAttribute('d')?.includes('L')`)
					}
					p.Picture(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", system, size, theme)))
				})
			}
		}
	}
}

// TestPicturesOfParts takes pictures of what is not seen at first: one service, one trace, an old picture, the end of a session.
func TestPicturesOfParts(t *testing.T) {
	dir := os.Getenv("STOA_SHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	for _, dark := range []bool{false, true} {
		theme := map[bool]string{false: "light", true: "dark"}[dark]
		t.Run(theme, func(t *testing.T) {
			s := start(t, "trouble")
			p := chrome.Open(t, chrome.Options{Dark: dark, Motion: true, Expect: []string{"ERR_", "Failed to load", "401"}})
			p.Go(s.login + "&service=payments")
			p.Until("the detail is there", opened+` && document.querySelector('[data-test=why] li')`)
			p.Picture(filepath.Join(dir, "part-detail-"+theme+".png"))
			p.Click(`[data-test=back]`)
			p.Until("traces are there", `document.querySelector('[data-test=trace-row][data-bad]')`)
			p.Click(`[data-test=trace-row][data-bad] .name`)
			p.Until("the waterfall is there", `document.querySelectorAll('[data-test=span]').length > 2`)
			p.Picture(filepath.Join(dir, "part-trace-"+theme+".png"))
			p.Click(`#trace .close`)
			s.tell("break")
			p.Until("it is stale", `document.body.hasAttribute("data-stale")`)
			p.Picture(filepath.Join(dir, "part-stale-"+theme+".png"))
			s.tell("mend")
			s.tell("expire")
			p.Until("it is closed", `document.body.dataset.phase === "closed"`)
			p.Picture(filepath.Join(dir, "part-closed-"+theme+".png"))
		})
	}
}

// TestPicturesOfGuards takes pictures of a game day, at the services that have most to tell.
func TestPicturesOfGuards(t *testing.T) {
	dir := os.Getenv("STOA_SHOTS")
	sizes := map[string][2]int{"laptop": {1280, 900}, "narrow": {390, 844}}
	if dir == "" {
		dir = t.TempDir()
		sizes = map[string][2]int{"laptop": {1280, 900}}
	}
	for size, wh := range sizes {
		for _, dark := range []bool{false, true} {
			theme := map[bool]string{false: "light", true: "dark"}[dark]
			for _, service := range []string{"inventory", "catalog"} {
				t.Run(fmt.Sprintf("%s-%s-%s", service, size, theme), func(t *testing.T) {
					s := start(t, "gameday")
					p := chrome.Open(t, chrome.Options{Width: wh[0], Height: wh[1], Dark: dark})
					p.Go(s.login + "&service=" + service)
					p.Until("the guards are there", opened+` && document.querySelector('[data-guard=breaker] .spark:not([data-flat]), [data-guard=places] .spark:not([data-flat])')`)
					if size == "narrow" {
						chrome.Eval[bool](p, `(document.querySelector('[data-test=guards]').scrollIntoView(), true)`)
					}
					p.Picture(filepath.Join(dir, fmt.Sprintf("guards-%s-%s-%s.png", service, size, theme)))
				})
			}
		}
	}
}
