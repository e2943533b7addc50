package codec

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how many levels of lists and objects JSON may have.
const MaxDepth = 16

// Text is a string of JSON: a part of the bytes that were parsed, so that who wipes those wipes it.
type Text []byte

// Number is an integer of JSON, as it was written.
type Number string

// Uint64 returns the number where it is one of 0 to most.
func (n Number) Uint64(most uint64) (uint64, bool) {
	value, err := strconv.ParseUint(string(n), 10, 64)
	return value, err == nil && value <= most
}

// Count returns the number where it is an integer of 0 or more, and most where it is larger.
func (n Number) Count(most uint64) (uint64, bool) {
	value, err := strconv.ParseUint(string(n), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return most, true
	}
	return min(value, most), err == nil
}

// Object is an object of JSON. Its values are nil, bool, Number, Text, []any and Object.
type Object map[string]any

// Text returns a member that is a string.
func (o Object) Text(name string) (string, bool) {
	text, ok := o[name].(Text)
	return string(text), ok
}

// Uint64 returns a member that is an integer of 0 to most.
func (o Object) Uint64(name string, most uint64) (uint64, bool) {
	number, ok := o[name].(Number)
	if !ok {
		return 0, false
	}
	return number.Uint64(most)
}

// Count returns a member that is an integer of 0 or more, and most where it is larger.
func (o Object) Count(name string, most uint64) (uint64, bool) {
	number, ok := o[name].(Number)
	if !ok {
		return 0, false
	}
	return number.Count(most)
}

const badJSON = Malformed("not valid JSON")

// Parse reads JSON in UTF-8 (RFC 8259), strictly: integers only, no member twice, no lone surrogates, at most MaxDepth levels.
// It takes data over: strings with escapes are written over their spelling, and stay parts of it.
func Parse(data []byte) (value any, err error) {
	if !utf8.Valid(data) {
		return nil, badJSON
	}
	p := parser{data: data}
	defer func() {
		// The only panics are those of fail.
		if reason := recover(); reason != nil {
			malformed, ok := reason.(Malformed)
			if !ok {
				panic(reason)
			}
			value, err = nil, malformed
		}
	}()
	value = p.value(1)
	if p.space(); p.at != len(data) {
		fail()
	}
	return value, nil
}

// ParseObject is Parse where an object is due.
func ParseObject(data []byte) (Object, error) {
	value, err := Parse(data)
	if err != nil {
		return nil, err
	}
	object, ok := value.(Object)
	if !ok {
		return nil, Malformed("not a JSON object")
	}
	return object, nil
}

type parser struct {
	data []byte
	at   int
}

func fail() { panic(badJSON) }

func (p *parser) space() {
	for p.at < len(p.data) {
		switch p.data[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// peek returns the next byte behind white space.
func (p *parser) peek() byte {
	p.space()
	if p.at == len(p.data) {
		fail()
	}
	return p.data[p.at]
}

// take passes over a byte that must come next.
func (p *parser) take(wanted byte) {
	if p.peek() != wanted {
		fail()
	}
	p.at++
}

func (p *parser) value(depth int) any {
	switch c := p.peek(); {
	case (c == '{' || c == '[') && depth > MaxDepth:
		panic(Malformed("nested too deeply"))
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.list(depth)
	case c == '"':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	default:
		return p.word()
	}
}

func (p *parser) word() any {
	for text, value := range map[string]any{"null": nil, "true": true, "false": false} {
		if end := p.at + len(text); end <= len(p.data) && string(p.data[p.at:end]) == text {
			p.at = end
			return value
		}
	}
	fail()
	return nil
}

func (p *parser) number() Number {
	from := p.at
	if p.data[p.at] == '-' {
		p.at++
	}
	digits := p.at
	for p.at < len(p.data) && p.data[p.at] >= '0' && p.data[p.at] <= '9' {
		p.at++
	}
	if count := p.at - digits; count == 0 || count > 1 && p.data[digits] == '0' {
		fail()
	}
	if p.at < len(p.data) && (p.data[p.at] == '.' || p.data[p.at] == 'e' || p.data[p.at] == 'E') {
		panic(Malformed("a number is not an integer"))
	}
	return Number(p.data[from:p.at])
}

func (p *parser) list(depth int) []any {
	p.take('[')
	list := []any{}
	if p.peek() == ']' {
		p.at++
		return list
	}
	for {
		list = append(list, p.value(depth+1))
		if p.peek() == ']' {
			p.at++
			return list
		}
		p.take(',')
	}
}

func (p *parser) object(depth int) Object {
	p.take('{')
	object := Object{}
	if p.peek() == '}' {
		p.at++
		return object
	}
	for {
		p.peek()
		name := string(p.text())
		if _, twice := object[name]; twice {
			panic(Malformed("a member of an object is there twice"))
		}
		p.take(':')
		object[name] = p.value(depth + 1)
		if p.peek() == '}' {
			p.at++
			return object
		}
		p.take(',')
	}
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) text() Text {
	p.take('"')
	from, to := p.at, p.at // what is read goes to where the string begins: an escape is longer than what it stands for
	for p.at < len(p.data) {
		c := p.data[p.at]
		p.at++
		switch {
		case c == '"':
			return Text(p.data[from:to:to])
		case c < ' ':
			fail()
		case c != '\\':
			p.data[to] = c
			to++
		default:
			to += p.escape(p.data[to:to])
		}
	}
	fail()
	return nil
}

// escape reads what follows a backslash, and appends what it stands for. It returns how many bytes that are.
func (p *parser) escape(to []byte) int {
	if p.at == len(p.data) {
		fail()
	}
	c := p.data[p.at]
	p.at++
	if c != 'u' {
		plain, ok := escapes[c]
		if !ok {
			fail()
		}
		return len(append(to, plain))
	}
	r := p.unit()
	if utf16.IsSurrogate(r) {
		if p.at+2 > len(p.data) || p.data[p.at] != '\\' || p.data[p.at+1] != 'u' {
			fail()
		}
		p.at += 2
		if r = utf16.DecodeRune(r, p.unit()); r == utf8.RuneError {
			fail()
		}
	}
	return len(utf8.AppendRune(to, r))
}

// unit reads four hexadecimal digits.
func (p *parser) unit() rune {
	if p.at+4 > len(p.data) {
		fail()
	}
	value, err := strconv.ParseUint(string(p.data[p.at:p.at+4]), 16, 16)
	if err != nil {
		fail()
	}
	p.at += 4
	return rune(value)
}
