package codec

import (
	"encoding/base64"
	"fmt"
	"sort"
	"strconv"
	"unicode/utf8"
)

// Members are what an object is made of: values are string, int64, bool, []string, []byte (written as base64), []any and Members.
type Members map[string]any

// Encode writes canonical JSON: members sorted, no spaces, no needless escapes. Strings must be UTF-8. The array is made once,
// large enough, so that no part of it stays elsewhere: who wipes it has wiped all.
func Encode(members any) []byte {
	return appendValue(make([]byte, 0, bound(members)), members)
}

// bound returns a length that JSON does not exceed.
func bound(value any) int {
	const most = 6 // bytes of an escape
	switch v := value.(type) {
	case string:
		return most*len(v) + 2
	case []byte:
		return base64.StdEncoding.EncodedLen(len(v)) + 2
	case []string:
		size := 2
		for _, text := range v {
			size += bound(text) + 1
		}
		return size
	case []any:
		size := 2
		for _, item := range v {
			size += bound(item) + 1
		}
		return size
	case Members:
		size := 2
		for name, member := range v {
			size += bound(name) + bound(member) + 2
		}
		return size
	default:
		return 20 // an int64, a bool
	}
}

func appendValue(to []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendText(to, v)
	case int64:
		return strconv.AppendInt(to, v, 10)
	case bool:
		return strconv.AppendBool(to, v)
	case []byte:
		to = append(to, '"')
		return append(base64.StdEncoding.AppendEncode(to, v), '"')
	case []string:
		list := make([]any, len(v))
		for i, text := range v {
			list[i] = text
		}
		return appendValue(to, list)
	case []any:
		to = append(to, '[')
		for i, item := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = appendValue(to, item)
		}
		return append(to, ']')
	case Members:
		return appendMembers(to, v)
	default:
		panic(fmt.Sprintf("codec: a %T is not written", value))
	}
}

func appendMembers(to []byte, members Members) []byte {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	sort.Strings(names)
	to = append(to, '{')
	for i, name := range names {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(appendText(to, name), ':')
		to = appendValue(to, members[name])
	}
	return append(to, '}')
}

var shortEscapes = map[byte]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func appendText(to []byte, text string) []byte {
	if !utf8.ValidString(text) {
		panic("codec: a text that is not UTF-8")
	}
	to = append(to, '"')
	for i := range len(text) {
		c := text[i]
		if short, ok := shortEscapes[c]; ok {
			to = append(to, short...)
		} else if c < ' ' {
			to = fmt.Appendf(to, `\u%04x`, c)
		} else {
			to = append(to, c)
		}
	}
	return append(to, '"')
}
