"""What is checked before a run and looked for after it: everything that makes a finding."""
