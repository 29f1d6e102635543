package node

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A release may be an archive instead of a profile: an URL or a path that ends
// in .tar, .tar.gz or .tgz, and says what is in it by #sha256=HEX. Its content
// is the release's folder: bin/buildout, instance.cfg and what they use.

// maxArchive bounds an archive, and what is unpacked of it, in bytes.
const maxArchive = 16 << 30

func isArchive(release string) bool {
	name, _, _ := strings.Cut(release, "#")
	name, _, _ = strings.Cut(name, "?")
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz") || strings.HasSuffix(name, ".tar")
}

// unpack fetches an archive and puts its content in the place of the release's
// folder, when the whole of it is what the checksum says.
func (n *Node) unpack(ctx context.Context, release, to string, log *slog.Logger) error {
	from, sum, _ := strings.Cut(release, "#")
	hexSum, ok := strings.CutPrefix(sum, "sha256=")
	if want, err := hex.DecodeString(hexSum); !ok || err != nil || len(want) != sha256.Size {
		return fmt.Errorf("the archive %s has no checksum: write %s#sha256=HEX", from, from)
	}
	file, err := os.CreateTemp(n.state("run"), "archive-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	body, err := fetch(ctx, from)
	if err != nil {
		return fmt.Errorf("archive %s: %w", from, err)
	}
	defer body.Close()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(body, maxArchive+1))
	if err != nil {
		return fmt.Errorf("archive %s: %w", from, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != strings.ToLower(hexSum) {
		return fmt.Errorf("the archive %s has the checksum %s, not %s", from, got, hexSum)
	}
	log.Info("unpacking", "bytes", size)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := n.replace(file, to); err != nil {
		return fmt.Errorf("archive %s: %w", from, err)
	}
	return nil
}

// fetch opens an http or https URL, or a file.
func fetch(ctx context.Context, from string) (io.ReadCloser, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "", "file":
		return os.Open(u.Path)
	case "http", "https":
	default:
		return nil, fmt.Errorf("%q is no http, https or file URL", from)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, errors.New(answer.Status)
	}
	return answer.Body, nil
}

// replace unpacks beside the folder, and then takes its place.
func (n *Node) replace(archive io.Reader, to string) error {
	beside := to + ".new"
	if err := removeFolder(n.c.Software, filepath.Base(beside)); err != nil {
		return err
	}
	f, err := n.releaseFolder(beside)
	if err != nil {
		return err
	}
	err = f.extract(archive)
	f.close()
	if err != nil {
		return errors.Join(err, removeFolder(n.c.Software, filepath.Base(beside)))
	}
	if err := removeFolder(n.c.Software, filepath.Base(to)); err != nil {
		return err
	}
	return os.Rename(beside, to)
}

// extract unpacks a tar archive, compressed or not, below the folder.
func (f *folder) extract(archive io.Reader) error {
	in := bufio.NewReaderSize(archive, 64<<10)
	var plain io.Reader = in
	if magic, err := in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		plain = z
	}
	bounded := &io.LimitedReader{R: plain, N: maxArchive}
	for t := tar.NewReader(bounded); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f.extractOne(h, t); err != nil {
			return fmt.Errorf("%.200s: %w", h.Name, err)
		}
	}
}

func (f *folder) extractOne(h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(name) {
		return errors.New("the name leads out of the release")
	}
	if err := f.mkdir(path.Dir(name), 0o755); err != nil {
		return err
	}
	perm := fs.FileMode(h.Mode).Perm() &^ 0o022
	switch h.Typeflag {
	case tar.TypeDir:
		return f.mkdir(name, perm|0o700)
	case tar.TypeSymlink:
		if err := f.root.Symlink(h.Linkname, name); err != nil || os.Geteuid() != 0 {
			return err
		}
		return f.root.Lchown(name, f.uid, f.gid)
	case tar.TypeReg:
		file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Chmod(perm), f.own(file), file.Close())
	}
	return fmt.Errorf("an entry of type %q is not taken", h.Typeflag)
}
