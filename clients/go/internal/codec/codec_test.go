package codec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestHex(t *testing.T) {
	for _, text := range []string{"00ff", "0x00FF", "00Ff"} {
		if data, err := HexOf(text, 2); err != nil || !bytes.Equal(data, []byte{0, 255}) {
			t.Errorf("%q: %v %v", text, data, err)
		}
	}
	for _, text := range []string{"", "00", "0x00ff00", "0X00ff", "0", "zz00", "00ff ", "0x"} {
		if data, err := HexOf(text, 2); !IsMalformed(err) {
			t.Errorf("%q: %v %v", text, data, err)
		}
	}
}

func TestBase64(t *testing.T) {
	for text, wanted := range map[string]string{"": "", "YQ==": "a", "YWI=": "ab", "YWJj": "abc", "-": "-", "+/+/": "\xfb\xff\xbf"} {
		data, err := Base64([]byte(text))
		if text == "-" {
			if !IsMalformed(err) {
				t.Errorf("%q: %v", text, err)
			}
		} else if err != nil || string(data) != wanted || data == nil {
			t.Errorf("%q: %q %v", text, data, err)
		}
	}
	for _, text := range []string{"YQ", "YQ=", "YQ===", "YR==", "YWJ=", "YQ==\n", "\nYQ==", "Y Q=", "_-_-", "YQ==YQ==", "="} {
		if data, err := Base64([]byte(text)); !IsMalformed(err) {
			t.Errorf("%q: %q %v", text, data, err)
		}
	}
}

func TestParse(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	for text, wanted := range map[string]any{
		`null`: nil, ` true `: true, `false`: false, `0`: Number("0"), `-12`: Number("-12"),
		`18446744073709551616`: Number("18446744073709551616"),
		`""`:                   Text(""), `"a\"\\\/\b\f\n\r\tä"`: Text("a\"\\/\b\f\n\r\tä"), `"\u00e4\u20ac\ud83d\ude00x"`: Text("ä€😀x"),
		`[]`: []any{}, `[1, [true]]`: []any{Number("1"), []any{true}},
		`{}`: Object{}, `{"a" : {"b":"c"}, "":null}`: Object{"a": Object{"b": Text("c")}, "": nil},
	} {
		value, err := Parse([]byte(text))
		if err != nil || !reflect.DeepEqual(value, wanted) {
			t.Errorf("%s: %#v %v", text, value, err)
		}
	}
	if _, err := Parse([]byte(deep)); err != nil {
		t.Errorf("%d levels: %v", MaxDepth, err)
	}
	for _, text := range []string{
		"", " ", "nul", "nulll", "tru", "1.0", "1e3", "1E3", "01", "-", "-01", "+1", ".5", "0x1", "NaN", "1 2", "[1,]", "[,1]", "[1 2]", "[", "]",
		"{", "}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `"`, `"a`, `"\`, `"\u`, `"\u12`,
		`"\x"`, `"\u12g4"`, `"\u+123"`, `"\ud800"`, `"\udc00"`, `"\ud800\u0041"`, `"\ud800x"`, `"\ude00\ud83d"`, "\"\n\"", "\"\x00\"", "\"\xff\"", "\xef\xbb\xbf1",
		"[" + deep + "]", strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<16),
	} {
		if value, err := Parse([]byte(text)); !IsMalformed(err) {
			t.Errorf("%.40q: %#v %v", text, value, err)
		}
	}
}

func TestTextsArePartsOfWhatWasParsed(t *testing.T) {
	data := []byte(`{"a":"secret","b":"s\u0065cret"}`)
	object, err := ParseObject(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	for name, value := range object {
		if text := value.(Text); string(text) != strings.Repeat("\x00", 6) {
			t.Errorf("%s is %q", name, text)
		}
	}
}

func TestNumbers(t *testing.T) {
	object := Object{"n": Number("10"), "big": Number("18446744073709551616"), "minus": Number("-1"), "text": Text("10")}
	for name, most := range map[string]uint64{"big": 1<<64 - 1, "minus": 10, "text": 10, "none": 10, "n": 9} {
		if value, ok := object.Uint64(name, most); ok {
			t.Errorf("%s: %d", name, value)
		}
	}
	if value, ok := object.Uint64("n", 10); !ok || value != 10 {
		t.Errorf("n: %d %v", value, ok)
	}
}

func TestCounts(t *testing.T) {
	long := Number(strings.Repeat("9", 400))
	for number, wanted := range map[Number]uint64{"0": 0, "9": 9, "10": 10, "11": 10, "18446744073709551616": 10, long: 10} {
		if value, ok := (Object{"n": number}).Count("n", 10); !ok || value != wanted {
			t.Errorf("%.20s: %d %v", number, value, ok)
		}
	}
	for _, value := range []any{Number("-1"), "-" + long, Text("1"), true, nil} {
		if value, ok := (Object{"n": value}).Count("n", 10); ok {
			t.Errorf("%v: %d", value, value)
		}
	}
}

func TestEncode(t *testing.T) {
	members := Members{
		"b": int64(-3), "a": "ä\"\\\n\x01\u2028<>&/", "value": []byte("a"), "t": true, "list": []string{"x", "y"}, "all": []any{int64(1), Members{}},
	}
	const wanted = `{"a":"ä\"\\\n\u0001` + "\u2028" + `<>&/","all":[1,{}],"b":-3,"list":["x","y"],"t":true,"value":"YQ=="}`
	data := Encode(members)
	if string(data) != wanted {
		t.Error(string(data))
	}
	// It must not have grown, which would leave copies.
	for _, value := range []any{members, strings.Repeat("\x01", 1000), make([]byte, 1000), []string{"", ""}, int64(-1 << 63)} {
		if data, most := Encode(value), bound(value); len(data) > most || cap(data) != cap(make([]byte, 0, most)) {
			t.Errorf("%T: %d bytes of %d, at most %d", value, len(data), cap(data), most)
		}
	}
}

// FuzzParse looks for what makes Parse panic, or take what encoding/json does not.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`{"a":[1,"\u00e4",null]}`, `"\ud83d\ude00"`, `[[[[]]]]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := Parse(bytes.Clone(data))
		if err != nil && !IsMalformed(err) {
			t.Fatal(err)
		}
		if err == nil && !json.Valid(data) {
			t.Fatalf("%q is taken", data)
		}
	})
}
