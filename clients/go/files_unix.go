//go:build unix

package novakms

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Bits of a file's mode.
const (
	othersAny   = 0o077
	othersWrite = 0o022
)

func ownerOf(info fs.FileInfo) int {
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(status.Uid)
	}
	return -1
}

// readChecked returns the first bytes of a file that a check of its metadata, made after it was opened, finds no fault with.
func readChecked(path string, most int, check func(fs.FileInfo) *Error) ([]byte, error) {
	// Without O_NONBLOCK opening a pipe could wait for ever.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, invalid("%s: is not a file", printable(path))
	}
	if wrong := check(info); wrong != nil {
		return nil, wrong
	}
	content := make([]byte, most)
	n, err := io.ReadFull(file, content)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return content[:n], nil
}

// readPrivate returns the first bytes of a file that is its user's alone.
func readPrivate(path string, most int) ([]byte, error) {
	return readChecked(path, most, func(info fs.FileInfo) *Error {
		if ownerOf(info) != os.Geteuid() || info.Mode().Perm()&othersAny != 0 {
			return invalid("%s: others have access to it: it must be yours, with mode 0600", printable(path))
		}
		return nil
	})
}

// readOwn returns the first bytes of a file that its user alone can write.
func readOwn(path string, most int) ([]byte, error) {
	return readChecked(path, most, func(info fs.FileInfo) *Error {
		if ownerOf(info) != os.Geteuid() {
			return invalid("%s: belongs to another user", printable(path))
		}
		if info.Mode().Perm()&othersWrite != 0 {
			return invalid("%s: can be written by other users", printable(path))
		}
		return nil
	})
}

// checkFolder refuses a folder that others can take files out of. One that is not there is fine.
func checkFolder(folder, path string) error {
	info, err := os.Stat(folder)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner != os.Geteuid() && owner != 0 {
		return invalid("%s: is in a folder of another user", printable(path))
	}
	if info.Mode().Perm()&othersWrite != 0 && info.Mode()&fs.ModeSticky == 0 {
		return invalid("%s: is in a folder that other users can write", printable(path))
	}
	return nil
}
