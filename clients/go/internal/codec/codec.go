// Package codec reads and writes hexadecimal digits, base64 and JSON as the protocol has them: one spelling of each, and bounded.
// No error says anything about the content of what is malformed.
package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// Malformed is the reason why bytes are not what they should be.
type Malformed string

func (m Malformed) Error() string { return string(m) }

// IsMalformed says whether an error is a Malformed.
func IsMalformed(err error) bool {
	var malformed Malformed
	return errors.As(err, &malformed)
}

const (
	badHex    = Malformed("not valid hexadecimal digits")
	badBase64 = Malformed("not valid base64")
)

// Hex returns the bytes of hexadecimal digits in any case, with or without 0x.
func Hex(text string) ([]byte, error) {
	data, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil {
		return nil, badHex // the library's error shows a digit
	}
	return data, nil
}

// HexOf is Hex where there must be so many bytes.
func HexOf(text string, length int) ([]byte, error) {
	data, err := Hex(text)
	if err == nil && len(data) != length {
		return nil, badHex
	}
	return data, err
}

var strict = base64.StdEncoding.Strict()

// Base64 returns the bytes of base64 in its canonical form (RFC 4648 section 3.5), in an array of their own.
func Base64(text []byte) ([]byte, error) {
	// The library passes over line breaks.
	if bytes.ContainsAny(text, "\r\n") {
		return nil, badBase64
	}
	data := make([]byte, strict.DecodedLen(len(text)))
	n, err := strict.Decode(data, text)
	if err != nil {
		clear(data)
		return nil, badBase64
	}
	return data[:n:n], nil
}
