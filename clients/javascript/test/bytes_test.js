// Hex, base64, UTF-8 and JSON, at the edge of what they take and past it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { base64Decode, base64Encode, be64, compareUtf8, concat, hex, isWellFormed, unhex, utf8, utf8Decode } from "../src/bytes.js";
import { JsonText, parse, textMember } from "../src/json.js";
import { vectors } from "./support/vectors.js";

test("hex has two digits a byte, of any case, with or without 0x", () => {
  assert.deepEqual([...unhex("0xFf00")], [255, 0]);
  assert.deepEqual([...unhex("0Xab", 1)], [171]);
  assert.equal(unhex("").length, 0);
  for (const wrong of ["f", "0xf", "zz", "0x0x00", " 00", "00\n", 7, undefined, null]) assert.equal(unhex(wrong), null);
  assert.equal(unhex("0000", 1), null);
  assert.equal(hex(new Uint8Array([0, 10, 255])), "000aff");
});

test("base64 is the platform's for every length and byte", () => {
  for (let length = 0; length < 70; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 37 + length * 101) & 255);
    const text = Buffer.from(bytes).toString("base64");
    assert.equal(utf8Decode(base64Encode(bytes)), text);
    assert.deepEqual(base64Decode(utf8(text)), bytes);
  }
});

test("only canonical base64 is taken", () => {
  for (const wrong of ["A", "AA", "AAA", "AA=", "A===", "====", "=", "AA=A", "AAA=AAAA", "AB==", "AAB=", "A-_A", "AA A", "AAA\n", "AAAé"]) {
    assert.equal(base64Decode(utf8(wrong)), null, wrong);
  }
});

test("texts are compared by their bytes, and have a UTF-8 form or not", () => {
  assert.ok(compareUtf8("a", "b") < 0);
  assert.ok(compareUtf8("ab", "a") > 0);
  assert.equal(compareUtf8("ä", "ä"), 0);
  assert.ok(compareUtf8("\uffff", "😀") < 0); // not so by UTF-16
  assert.ok(isWellFormed("😀"));
  assert.ok(!isWellFormed("\ud83d") && !isWellFormed("a\ude00b"));
  assert.throws(() => utf8Decode(new Uint8Array([0xff])), TypeError);
  assert.equal(utf8Decode(utf8("\ufeffx")), "\ufeffx");
  assert.equal(hex(concat(be64(2 ** 32), be64(1n))), "00000001000000000000000000000001");
});

function plain(value) {
  if (value instanceof JsonText) return value.toString();
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, member]) => [name, plain(member)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

test("JSON is read as JSON.parse reads it", () => {
  const texts = ['{}', '[]', '""', " [ 1 , -2,0 ] ", '{"a":{"b":[true,false,null]},"":"\\u00e4\\n\\ud83d\\ude00\\/"}', '"ä€😀"', "1.5", "-1e3", '"a\\\\"'];
  for (const text of [...texts, ...vectors("canonical").map(({ json }) => json).filter((json) => !/[0-9]{16}/.test(json))]) {
    assert.deepEqual(plain(parse(utf8(text))), JSON.parse(text), text);
  }
  assert.equal(parse(utf8("18446744073709551615")), 2n ** 64n - 1n);
  assert.equal(parse(utf8("9007199254740993")), 9007199254740993n);
});

test("JSON that is not valid, or says two things, is refused", () => {
  for (const text of [
    "", " ", "{", "[", '"', "{}x", "[1,]", "[,1]", '{"a":1,}', '{"a"}', '{"a":1 "b":2}', "{a:1}", "01", "1.", "+1", ".5", "nul", "NaN", "'a'",
    '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '"\u0001"', "[1 2]", "\ufeff{}", "-", "1e", "\u00a01",
  ]) {
    assert.throws(() => parse(utf8(text)), SyntaxError, text);
  }
  assert.throws(() => parse(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), SyntaxError); // a name that is not UTF-8
  for (const text of ['{"a":"\\ud800"}', '{"a":"\\x"}', '{"a":1}', "[]", "null"]) assert.equal(textMember(parse(utf8(text)), "a"), undefined, text);
});

test("JSON has 16 levels", () => {
  const nested = (levels) => utf8("[".repeat(levels) + "]".repeat(levels));
  parse(nested(16));
  assert.throws(() => parse(nested(17)), /too many levels/);
});

test("a text in JSON is decoded where it stands", () => {
  const document = utf8('{"key":"AAEC"}');
  const decoded = parse(document).get("key").base64();
  document.fill(0);
  assert.deepEqual([...decoded], [0, 1, 2]);
  assert.equal(parse(utf8('"\\u0041AAA"')).base64(), null); // canonical JSON escapes no letter
});
