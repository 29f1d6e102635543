package metrics

func ofLake() []metric {
	return []metric{
		{name: "weir_lake_sets", kind: gauge, help: "Sets of the data lake.",
			read: one(func(s *snapshot) int64 { return s.lake.Sets })},
		{name: "weir_lake_files", kind: gauge, help: "Files in sets of the data lake.",
			read: one(func(s *snapshot) int64 { return s.lake.Files })},
		{name: "weir_lake_bytes", kind: gauge, help: "Bytes of the files in sets of the data lake.",
			read: one(func(s *snapshot) int64 { return s.lake.Bytes })},
		{name: "weir_lake_partial_files", kind: gauge, help: "Files of the data lake whose last part did not come yet.",
			read: one(func(s *snapshot) int64 { return s.lake.Partial })},
	}
}
