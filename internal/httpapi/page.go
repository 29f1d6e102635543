package httpapi

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"strings"
)

//go:embed web
var web embed.FS

// pageFiles are the files of the page, by address.
var pageFiles = map[string]struct{ name, kind string }{
	"/":                  {"index.html", "text/html; charset=utf-8"},
	"/web/app.js":        {"app.js", "text/javascript; charset=utf-8"},
	"/web/style.css":     {"style.css", "text/css; charset=utf-8"},
	"/web/uplot.js":      {"uPlot.iife.min.js", "text/javascript; charset=utf-8"},
	"/web/uplot.css":     {"uPlot.min.css", "text/css; charset=utf-8"},
	"/web/uplot.license": {"uPlot.LICENSE", "text/plain; charset=utf-8"},
	"/favicon.ico":       {"icon.svg", "image/svg+xml"},
	"/web/icon.svg":      {"icon.svg", "image/svg+xml"},
}

// securityHeaders let the page load only its own files and be framed by none.
var securityHeaders = [][2]string{
	{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; " +
		"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cross-Origin-Opener-Policy", "same-origin"},
}

// page answers with a file of the page.
func (r *request) page() error {
	file := pageFiles[r.target.path]
	data, err := web.ReadFile("web/" + file.name)
	if err != nil {
		return err
	}
	for _, h := range securityHeaders {
		r.ctx.Response.Header.Set(h[0], h[1])
	}
	sum := sha256.Sum256(data)
	return r.send(resource{
		size: int64(len(data)), etag: `"` + hex.EncodeToString(sum[:8]) + `"`, kind: file.kind,
		open: func(sp span) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(string(data[sp.start:sp.end]))), nil
		},
	})
}
