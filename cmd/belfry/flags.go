package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"belfry/config"
)

// configVariable names the YAML file when --config does not.
const configVariable = config.EnvPrefix + "CONFIG"

// configFlags are the flags for the configuration: one for each setting that
// has a flag, --set for the others, and --config.
type configFlags struct {
	file     string
	assigned []config.Assignment
}

func addConfigFlags(flags *pflag.FlagSet) *configFlags {
	f := &configFlags{}
	flags.StringVar(&f.file, "config", "", "YAML file with settings (or "+configVariable+")")
	flags.Var(&setFlag{f}, "set", "set a setting by its path, like --set session.ping_interval=30s; may be repeated")
	defaults := config.Default()
	for _, s := range defaults.Settings() {
		if s.Flag == "" {
			continue
		}
		flag := flags.VarPF(&settingFlag{f, s}, s.Flag, "", strings.TrimSuffix(s.Doc, "."))
		flag.DefValue = strings.Join(s.Items(), ",")
		if s.Bool() {
			flag.NoOptDefVal = "true"
		}
	}
	return f
}

// load makes the configuration from the flags, env and the file.
func (f *configFlags) load(env []string) (*config.Loaded, error) {
	src := config.Inputs{File: f.file, Flags: f.assigned}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if name != configVariable {
			src.Env = append(src.Env, pair)
		} else if src.File == "" {
			src.File = value
		}
	}
	return config.Load(src)
}

// assign records a value. If the flag of a list is repeated, its values add up.
func (f *configFlags) assign(flag, path, value string, list bool) {
	if list {
		for i := range f.assigned {
			if a := &f.assigned[i]; a.Flag == flag {
				a.Value += "," + value
				return
			}
		}
	}
	f.assigned = append(f.assigned, config.Assignment{Flag: flag, Path: path, Value: value})
}

// settingFlag is the flag of one setting.
type settingFlag struct {
	flags   *configFlags
	setting config.Setting
}

func (f *settingFlag) String() string { return "" } // pflag shows DefValue
func (f *settingFlag) Type() string {
	if f.setting.Bool() {
		return "bool" // then pflag shows no value in the help
	}
	return f.setting.Type()
}

func (f *settingFlag) Set(value string) error {
	f.flags.assign("--"+f.setting.Flag, f.setting.Path, value, f.setting.List())
	return nil
}

// setFlag is --set.
type setFlag struct{ flags *configFlags }

func (f *setFlag) String() string { return "" }
func (f *setFlag) Type() string   { return "path=value" }

func (f *setFlag) Set(text string) error {
	path, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q is not path=value", text)
	}
	f.flags.assign("--set", path, value, false)
	return nil
}
