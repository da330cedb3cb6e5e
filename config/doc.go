// Package config holds every setting of belfry: one struct whose tags give the
// key, the default, the allowed range and the description of each field.
// Everything else is derived from it: the names of environment variables, the
// reading of files, the errors, the output of `belfry config print` and the
// table in docs/configuration.md.
//
// A setting comes from, in this order: a flag, the environment, the YAML file,
// the default. A key that no setting has is an error, never ignored.
package config
