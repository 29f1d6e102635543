// Package conf reads weir's configuration: one strict YAML file.
//
// A key that is not known, a value that cannot be, a secret that cannot be
// read: each is a Diagnostic with file, line and column, and all of them are
// found at once. What the file leaves out is as in default.yaml, which
// documents every key. The packages own the meaning of their options; conf
// composes them and gives their complaints a position.
package conf
