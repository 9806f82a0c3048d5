package studio

func runChild(string) {}
