// Package console is the web application for people, built by
// gateway/console/build from web/ into dist/, which is committed and embedded.
package console

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var built embed.FS

// Files gives the built application, index.html at its root.
func Files() fs.FS {
	files, err := fs.Sub(built, "dist")
	if err != nil { // dist is embedded, or this would not have compiled
		panic(err)
	}
	return files
}
