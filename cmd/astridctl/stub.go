package main

import "github.com/spf13/cobra"

func newVerify(a *app) *cobra.Command      { return &cobra.Command{Use: "verify"} }
func newVerifyChild(a *app) *cobra.Command { return &cobra.Command{Use: "vc"} }
func newDemo(a *app) *cobra.Command        { return &cobra.Command{Use: "demo"} }
