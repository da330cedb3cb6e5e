package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"belfry/config"
)

func newConfigCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print and check settings",
	}
	cmd.AddCommand(newConfigPrintCommand(env), newConfigCheckCommand())
	return cmd
}

func newConfigPrintCommand(env []string) *cobra.Command {
	var secrets bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print every setting with its value and its source",
		Long: `Print every setting with its value, its description and the source of the value,
as YAML that --config reads. Takes the flags of serve. If a node on this machine
would use another value (a share of memory, or less than set because of the limit
of open files), a comment shows it. Secrets are written as comments unless
--show-secrets is given.`,
		Args: cobra.NoArgs,
	}
	flags := addConfigFlags(cmd.Flags())
	cmd.Flags().BoolVar(&secrets, "show-secrets", false, "print secrets too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := flags.load(env)
		if err != nil {
			return err
		}
		return loaded.Print(cmd.OutOrStdout(), loaded.Sources, inForce(loaded), secrets)
	}
	return cmd
}

// inForce returns the settings as a node on this machine would have them; nil
// if that is not known. A node name that is chosen at start is left out.
func inForce(loaded *config.Loaded) *config.Config {
	here, err := thisMachine()
	if err != nil {
		return nil
	}
	c := loaded.Config
	here.resolve(&c)
	c.Node.Name = loaded.Node.Name
	return &c
}

func newConfigCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Print all faults of a YAML file",
		Long: `Print all faults of a YAML file, with line and column. The environment is not
checked. FILE - is the standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, data, err := readInput(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			if err := config.Check(name, data); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", name)
			return err
		},
	}
}

func readInput(stdin io.Reader, file string) (name string, data []byte, err error) {
	if file == "-" {
		data, err = io.ReadAll(stdin)
		return "standard input", data, err
	}
	data, err = os.ReadFile(file)
	return file, data, err
}
