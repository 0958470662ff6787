package cli

import (
	"fmt"
	"strings"

	"stoa/internal/kernel/host"
)

// Reference gives the reference page of all commands in Markdown, for docs/reference/cli.md.
// It panics if a command has a flag twice or one of a global name, so that the test of
// the page's freshness finds that defect.
func Reference(c *host.Catalog, commands []Command) []byte {
	table := tableOf(Options{Catalog: c, Commands: commands})
	var b strings.Builder
	b.WriteString("# The command line\n\n<!-- Generated from the operation table. Do not edit. -->\n\n")
	fmt.Fprintf(&b, "Exit codes: %s.\n\n", Codes)
	b.WriteString("Flags of every command:\n\n| flag | meaning |\n|---|---|\n")
	mdRows(&b, globals)
	b.WriteString("\n| command | does |\n|---|---|\n")
	for _, x := range table {
		fmt.Fprintf(&b, "| [`stoa %s`](#stoa-%s) | %s |\n", x.Name, strings.ReplaceAll(x.Name, " ", "-"), mdText(x.Help))
	}
	for _, x := range table {
		newFlags(&Session{}, &x, c)
		fmt.Fprintf(&b, "\n## stoa %s\n\n%s.\n\n", x.Name, mdText(sentence(x.Help)))
		fmt.Fprintf(&b, "```\n%s\n```\n", usage(x))
		if x.Example != "" {
			fmt.Fprintf(&b, "\nFor example `%s`.\n", x.Example)
		}
		if x.Destroys {
			b.WriteString("\nIt loses something: a person is asked, a script passes `--yes`.\n")
		}
		if x.More != "" {
			fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(x.More))
		}
		args, flags := rowsOf(x)
		if len(args) > 0 {
			b.WriteString("\n| argument | meaning |\n|---|---|\n")
			mdRows(&b, args)
		}
		if len(flags) > 0 {
			b.WriteString("\n| flag | meaning |\n|---|---|\n")
			mdRows(&b, flags)
		}
	}
	return []byte(b.String())
}

func mdRows(b *strings.Builder, rows [][]string) {
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s` | %s |\n", strings.TrimSpace(r[0]), mdText(r[1]))
	}
}

// mdText keeps text from being read as markup of a table.
func mdText(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "\n", " ").Replace(s)
}
