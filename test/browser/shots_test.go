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
	sizes := map[string][2]int{"wide": {1440, 900}, "narrow": {390, 844}}
	systems := []string{"hello", "shop", "trouble", "big"}
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
