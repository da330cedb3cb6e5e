// Package config holds every setting of belfry: one struct with a tag for
// the key, the description and the allowed range of each field, and one
// function with the defaults. Everything else follows from those two: the
// names of environment variables, the reading of files, the errors, what
// `belfry config print` prints and the table in docs/configuration.md.
//
// A setting comes from, in this order: a flag, the environment, the YAML file,
// the default. A key that no setting has is an error, never ignored.
package config
