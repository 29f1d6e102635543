// Package access says who may use a door and for what: users with passwords
// or tokens, their rights, and the policies that these are bounded to. It
// knows no HTTP but the form of an Authorization header, RFC 7617 and
// RFC 6750. What a check costs is bounded, whoever asks; see DESIGN.md.
package access
