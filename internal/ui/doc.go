// Package ui is how astridctl looks: tables, colour, times and sizes for
// people, progress, and errors that say what to do next.
//
// The rules of the interface:
//
//   - Standard output holds the answer and nothing else; progress, notes and
//     errors go to standard error.
//   - Colour is never the only carrier of meaning. NO_COLOR turns it off,
//     CLICOLOR_FORCE turns it on where no terminal is, else it follows the
//     terminal.
//   - Whatever a guest could have chosen (commands, arguments, labels, call
//     ids, error texts) passes [Safe] before a terminal sees it. JSON is the
//     exact form.
//   - An error says what was wrong, and its hint what to do.
package ui
