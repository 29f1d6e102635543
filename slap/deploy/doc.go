// Package deploy keeps deployed what policies name: it supplies a software
// release, requests an instance of it again and again, as SLAP wants it, and
// knows how far each one is.
package deploy
