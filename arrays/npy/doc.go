// Package npy writes the forms in which numpy's users take arrays away: .npy
// files (versions 1.0 to 3.0 of NEP 1), .npz archives of them, and the blob
// that Wendelin's notebooks read, a .npy file behind ten bytes.
//
// It writes heads; the elements themselves are already bytes, little endian
// and in C order.
package npy
